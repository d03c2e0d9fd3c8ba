// A history → interests, recommendations and their causes: what skmind computes, in the page.
//
// Letters: n items, L history length, K interests, D embedding dimension, H heads of the encoder.
// Matrices are flat and row-major. Histories are arrays of item numbers, the oldest first.

import type { Explorer, Weights } from "./data";

const SQUASH_EPSILON = 1e-7;
const MIN_SQUARED_LENGTH = 1e-12;
const LAYER_NORM_EPSILON = 1e-5;
const DIVERSITY_CANDIDATES = 5; // candidates per recommended item that diversity chooses from

export interface Interests {
  newest: number[]; // the items of the history that count, the newest first
  used: boolean[]; // K
  vectors: Float64Array; // K × D, of unit length; zero where not in use
  weights: Float64Array; // K × L
  causes: Float64Array; // K × L: factor of the product of projected item and target, for `explain`
  projected: Float64Array; // L × D
  cosines: Map<number, Float64Array>; // of all items to an interest, once they were needed
}

export interface Steering {
  k: number;
  weights: number[]; // K
  diversity: number;
  includeSeen: boolean;
}

export interface Recommendation {
  item: number;
  score: number;
  interest: number; // -1: a popular item, because no interest is in use
}

export interface Cause {
  item: number;
  weight: number; // of all weights of the interest, which add up to 1
  contribution: number; // to the cosine of interest and item
}

/** Computes everything that the page shows, from the arrays in it. */
export class Engine {
  readonly unit: Float32Array; // n × D

  constructor(private readonly data: Explorer) {
    this.unit = unitRows(data.vectors, data.config.D);
  }

  /** Returns the interests of a person, as `MINDNet` does. */
  encode(history: number[], profile: Float64Array | null = null): Interests {
    const { D, K, maxHistory, adaptive } = this.data.config;
    const newest = history.slice(-maxHistory).reverse();
    const L = newest.length;
    const mask = Array.from({ length: K }, (_, j) => j === 0 || !adaptive || L >= 2 ** (j + 1));
    const items = new Float64Array(L * D);
    newest.forEach((item, l) => items.set(this.data.vectors.subarray(item * D, item * D + D), l * D));
    const projected = product(items, this.data.weights["bilinear"]!, L, D, D);
    const { sums, weights } = this.route(projected, mask, L);

    const vectors = new Float64Array(K * D);
    const causes = new Float64Array(K * L);
    const used = new Array<boolean>(K).fill(false);
    const states = L && this.data.config.nLayers ? this.encoderStates(items, L) : null;
    const isSquashed = states !== null || profile !== null;
    for (let j = 0; j < K; j++) {
      if (!mask[j]) continue;
      const capsule = sums.slice(j * D, j * D + D);
      const square = dot(capsule, 0, capsule, 0, D);
      if (isSquashed) {
        const factor = square / ((1 + square) * Math.sqrt(square + SQUASH_EPSILON));
        for (let d = 0; d < D; d++) {
          capsule[d] = capsule[d]! * factor + (states?.[j * D + d] ?? 0) + (profile?.[d] ?? 0);
        }
      }
      const total = dot(capsule, 0, capsule, 0, D);
      used[j] = capsule.some((value) => value !== 0);
      const scale = 1 / Math.sqrt(Math.max(total, MIN_SQUARED_LENGTH));
      for (let d = 0; d < D; d++) vectors[j * D + d] = capsule[d]! * scale;
      // The interest is the sum over the history divided by its length, so its cosine is a sum, too.
      const squash = Math.sqrt(square) / (1 + square);
      const length = isSquashed ? Math.sqrt(total) : square / (1 + square);
      for (let l = 0; l < L; l++) {
        causes[j * L + l] = length > 0 ? (squash * weights[j * L + l]!) / length : 0;
      }
    }
    return { newest, used, vectors, weights, causes, projected, cosines: new Map() };
  }

  /** Routes the items of a history to the interests in use, as `skmind.nn.routing.route` does. */
  private route(projected: Float64Array, mask: boolean[], L: number) {
    const { D, K, maxHistory, nRoutingIter } = this.data.config;
    const logits = this.data.weights["logits"]!;
    const recency = this.data.weights["recency"]!;
    const b = new Float64Array(K * L);
    for (let j = 0; j < K; j++) {
      for (let l = 0; l < L; l++) b[j * L + l] = mask[j] ? logits[j * maxHistory + l]! : -Infinity;
    }
    const weights = new Float64Array(K * L);
    const sums = new Float64Array(K * D);
    for (let iteration = 0; iteration < nRoutingIter; iteration++) {
      for (let l = 0; l < L; l++) {
        let highest = -Infinity;
        for (let j = 0; j < K; j++) highest = Math.max(highest, b[j * L + l]!);
        let total = 0;
        for (let j = 0; j < K; j++) total += weights[j * L + l] = Math.exp(b[j * L + l]! - highest);
        for (let j = 0; j < K; j++) {
          weights[j * L + l]! *= Math.exp(recency[j * maxHistory + l]!) / total;
        }
      }
      sums.fill(0);
      for (let j = 0; j < K; j++) {
        for (let l = 0; l < L; l++) {
          const weight = weights[j * L + l]!;
          for (let d = 0; d < D; d++) sums[j * D + d]! += weight * projected[l * D + d]!;
        }
      }
      if (iteration === nRoutingIter - 1) break;
      for (let j = 0; j < K; j++) {
        if (!mask[j]) continue;
        const square = dot(sums, j * D, sums, j * D, D);
        const squash = Math.sqrt(square) / (1 + square);
        for (let l = 0; l < L; l++) b[j * L + l]! += squash * dot(sums, j * D, projected, l * D, D);
      }
    }
    return { sums, weights };
  }

  /** Returns what the sequence encoder adds to each interest, K × D. */
  private encoderStates(items: Float64Array, L: number): Float64Array {
    const { D, K, nLayers } = this.data.config;
    let x: Float64Array = items.map((value) => value * Math.sqrt(D));
    for (let i = 0; i < nLayers; i++) {
      const isLast = i === nLayers - 1;
      x = attend(x, L, isLast ? 1 : L, D, this.data.config.nHeads, this.layer(i));
    }
    const { weights } = this.data;
    const normed = layerNorm(x, 1, D, weights["layers_norm.weight"]!, weights["layers_norm.bias"]!);
    const states = new Float64Array(K * D);
    states.set(product(normed, weights["state"]!, 1, D, D));
    if (K > 1) states.set(product(normed, weights["state_others"]!, 1, D, (K - 1) * D), D);
    return states;
  }

  private layer(i: number): Weights {
    const prefix = `layers.${i}.`;
    return Object.fromEntries(
      Object.entries(this.data.weights)
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, values]) => [name.slice(prefix.length), values]),
    );
  }

  /** Returns the best items, as `recommend` does with exact search. */
  recommend(history: number[], interests: Interests, steering: Steering): Recommendation[] {
    const excluded = new Set(steering.includeSeen ? [] : history);
    const isEligible = (item: number) => this.data.isAllowed(item) && !excluded.has(item);
    const inUse = interests.used.flatMap((used, j) => (used && steering.weights[j]! > 0 ? [j] : []));
    if (!inUse.length) return this.popular(steering.k, isEligible);
    const cosines = inUse.map((j) => this.cosines(interests, j));
    const weights = inUse.map((j) => steering.weights[j]!);
    const highestWeight = Math.max(...weights);
    const gains = this.repeatGains(interests.newest, inUse.length);
    const scores = new Float64Array(this.data.n).fill(-Infinity);
    const won = new Int32Array(this.data.n);
    for (let item = 0; item < this.data.n; item++) {
      if (!isEligible(item)) continue;
      const products = weights.map((weight, i) => (weight / highestWeight) * cosines[i]![item]!);
      const highest = Math.max(...products);
      const score = softMaximum(products, highest, this.data.temperature);
      const gain = gains.get(item) ?? -Infinity;
      scores[item] = highestWeight * logSum(score, gain, this.data.temperature);
      won[item] = inUse[products.indexOf(highest)]!;
    }
    const row = (item: number) => ({ item, score: scores[item]!, interest: won[item]! });
    const nCandidates = (steering.diversity ? DIVERSITY_CANDIDATES : 1) * steering.k;
    const candidates = topPlaces(scores, nCandidates).map(row);
    return steering.diversity ? this.diversify(candidates, steering) : candidates;
  }

  /** Returns what the items of the history gain, if the model has learned that people repeat. */
  private repeatGains(newest: number[], nInterests: number): Map<number, number> {
    const gains = new Map<number, number>();
    const weights = this.data.weights["repeats"];
    const { temperature } = this.data;
    if (!weights || temperature === null) return gains;
    newest.forEach((item, age) => {
      const gain = weights[age]! - temperature * Math.log(nInterests);
      gains.set(item, logSum(gains.get(item) ?? -Infinity, gain, temperature));
    });
    return gains;
  }

  /** Returns the cosines of all items to an interest; steering does not change them. */
  private cosines(interests: Interests, j: number): Float64Array {
    const { D } = this.data.config;
    let cosines = interests.cosines.get(j);
    if (!cosines) {
      cosines = new Float64Array(this.data.n);
      for (let item = 0; item < this.data.n; item++) {
        cosines[item] = dot(interests.vectors, j * D, this.unit, item * D, D);
      }
      interests.cosines.set(j, cosines);
    }
    return cosines;
  }

  private popular(k: number, isEligible: (item: number) => boolean): Recommendation[] {
    return Array.from({ length: this.data.n }, (_, item) => item)
      .filter(isEligible)
      .sort((a, b) => this.data.counts[b]! - this.data.counts[a]!)
      .slice(0, k)
      .map((item) => ({ item, score: this.data.counts[item]! / this.data.nEvents, interest: -1 }));
  }

  /** Selects items by score and mean distance from each other, as `skmind` does. */
  private diversify(candidates: Recommendation[], { k, diversity }: Steering): Recommendation[] {
    const { D } = this.data.config;
    const left = candidates.map((candidate) => ({ candidate, cosines: 0 }));
    const taken: Recommendation[] = [];
    while (left.length && taken.length < k) {
      let best = 0;
      let highest = -Infinity;
      left.forEach(({ candidate, cosines }, i) => {
        const value =
          (1 - diversity) * candidate.score - (diversity / Math.max(taken.length, 1)) * cosines;
        if (value > highest) {
          highest = value;
          best = i;
        }
      });
      const [{ candidate }] = left.splice(best, 1) as [(typeof left)[number]];
      taken.push(candidate);
      for (const other of left) {
        other.cosines += dot(this.unit, candidate.item * D, this.unit, other.candidate.item * D, D);
      }
    }
    return taken;
  }

  /** Returns the items that are nearest to a vector of unit length. */
  nearest(vector: ArrayLike<number>, k: number, without = -1): Recommendation[] {
    const { D } = this.data.config;
    const scores = new Float64Array(this.data.n).fill(-Infinity);
    for (let item = 0; item < this.data.n; item++) {
      if (item === without || !this.data.isAllowed(item)) continue;
      scores[item] = dot(vector, 0, this.unit, item * D, D);
    }
    return topPlaces(scores, k).map((item) => ({ item, score: scores[item]!, interest: -1 }));
  }

  similar(item: number, k: number): Recommendation[] {
    return this.nearest(this.unitVector(item), k, item);
  }

  /** Returns the cosine of an item and the vector that starts at a place in ``vectors``. */
  cosine(vectors: Float64Array, start: number, item: number): number {
    const { D } = this.data.config;
    return dot(vectors, start, this.unit, item * D, D);
  }

  unitVector(item: number): Float32Array {
    const { D } = this.data.config;
    return this.unit.subarray(item * D, item * D + D);
  }

  /** Splits the cosine of an interest and an item into contributions of the history items. */
  explain(interests: Interests, interest: number, item: number): Cause[] {
    const { D } = this.data.config;
    const L = interests.newest.length;
    if (interest < 0) return [];
    const shares = routingShares(interests, interest);
    const causes = interests.newest.map((cause, l) => ({
      item: cause,
      weight: shares[l]!,
      contribution:
        interests.causes[interest * L + l]! *
        dot(interests.projected, l * D, this.unit, item * D, D),
    }));
    return causes.sort((a, b) => b.contribution - a.contribution);
  }
}

/** Returns temperature · log(mean(exp(products / temperature))), or else the highest product. */
function softMaximum(products: number[], highest: number, temperature: number | null): number {
  if (temperature === null) return highest;
  const total = products.reduce((sum, x) => sum + Math.exp((x - highest) / temperature), 0);
  return highest + temperature * Math.log(total / products.length);
}

/** Returns temperature · log(exp(a / temperature) + exp(b / temperature)). */
function logSum(a: number, b: number, temperature: number | null): number {
  if (temperature === null || Math.min(a, b) === -Infinity) return Math.max(a, b);
  return Math.max(a, b) + temperature * Math.log1p(Math.exp(-Math.abs(a - b) / temperature));
}

/** Returns the weights of the history items in an interest, divided by their sum. */
export function routingShares(interests: Interests, interest: number): Float64Array {
  const L = interests.newest.length;
  const weights = interests.weights.slice(interest * L, interest * L + L);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / Math.max(total, 1e-7));
}

/** Returns the places of the k highest scores, best first; of equal scores, the first place. */
function topPlaces(scores: Float64Array, k: number): number[] {
  const limit = scores.slice().sort()[Math.max(scores.length - k, 0)] ?? -Infinity;
  const places: number[] = [];
  scores.forEach((score, i) => {
    if (score >= limit && score > -Infinity) places.push(i);
  });
  return places.sort((a, b) => scores[b]! - scores[a]!).slice(0, k);
}

type Numbers = ArrayLike<number>;

export function dot(a: Numbers, startA: number, b: Numbers, startB: number, D: number): number {
  let sum = 0;
  for (let d = 0; d < D; d++) sum += a[startA + d]! * b[startB + d]!;
  return sum;
}

/** Returns the product of x (n × D) and the transpose of a map (m × D): n × m. */
function product(x: Numbers, map: Numbers, n: number, D: number, m: number, first = 0) {
  const result = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) result[i * m + j] = dot(x, i * D, map, (first + j) * D, D);
  }
  return result;
}

function unitRows(vectors: Float32Array, D: number): Float32Array {
  const result = new Float32Array(vectors.length);
  for (let start = 0; start < vectors.length; start += D) {
    const length = Math.max(Math.sqrt(dot(vectors, start, vectors, start, D)), 1e-12);
    for (let d = start; d < start + D; d++) result[d] = vectors[d]! / length;
  }
  return result;
}

function layerNorm(x: Numbers, n: number, D: number, weight: Numbers, bias: Numbers) {
  const result = new Float64Array(n * D);
  for (let start = 0; start < n * D; start += D) {
    let mean = 0;
    for (let d = 0; d < D; d++) mean += x[start + d]! / D;
    let variance = 0;
    for (let d = 0; d < D; d++) variance += (x[start + d]! - mean) ** 2 / D;
    const scale = 1 / Math.sqrt(variance + LAYER_NORM_EPSILON);
    for (let d = 0; d < D; d++) {
      result[start + d] = (x[start + d]! - mean) * scale * weight[d]! + bias[d]!;
    }
  }
  return result;
}

/** Applies a block of self-attention to the first Q of L items, as `skmind.nn.encoder` does. */
function attend(x: Float64Array, L: number, Q: number, D: number, H: number, layer: Weights) {
  const normed = layerNorm(x, L, D, layer["norms.0.weight"]!, layer["norms.0.bias"]!);
  const maps = layer["queries_keys_values"]!;
  const queries = product(normed, maps, Q, D, D);
  const keys = product(normed, maps, L, D, D, D);
  const values = product(normed, maps, L, D, D, 2 * D);
  const ages = layer["age_bias"]!;
  const maxHistory = ages.length / H;
  const size = D / H;
  const attended = new Float64Array(Q * D);
  for (let q = 0; q < Q; q++) {
    for (let h = 0; h < H; h++) {
      const logits = new Float64Array(L - q); // an item sees itself and those before it
      for (let l = q; l < L; l++) {
        logits[l - q] =
          dot(queries, q * D + h * size, keys, l * D + h * size, size) / Math.sqrt(size) +
          ages[h * maxHistory + l - q]!;
      }
      const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
      const shares = logits.map((logit) => Math.exp(logit - highest));
      const total = shares.reduce((a, b) => a + b, 0);
      for (let l = q; l < L; l++) {
        const share = shares[l - q]! / total;
        for (let d = h * size; d < (h + 1) * size; d++) {
          attended[q * D + d]! += share * values[l * D + d]!;
        }
      }
    }
  }
  const merged = product(attended, layer["merge"]!, Q, D, D);
  const result = merged.map((value, i) => value + x[i]!);
  const second = layerNorm(result, Q, D, layer["norms.1.weight"]!, layer["norms.1.bias"]!);
  const inner = product(second, layer["inner"]!, Q, D, D).map(gelu);
  return product(inner, layer["outer"]!, Q, D, D).map((value, i) => value + result[i]!);
}

function gelu(x: number): number {
  return (x / 2) * (1 + erf(x / Math.SQRT2));
}

/** The error function; its error is below 1.2e-7 (Numerical Recipes, 2nd edition, section 6.2). */
function erf(x: number): number {
  const t = 1 / (1 + Math.abs(x) / 2);
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398,
    1.48851587, -0.82215223, 0.17087277,
  ];
  const power = coefficients.reduceRight((sum, coefficient) => sum * t + coefficient, 0);
  const complement = t * Math.exp(-x * x + power);
  return x >= 0 ? 1 - complement : complement - 1;
}
