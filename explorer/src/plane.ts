// Vectors in groups → the plane in which the means of the groups differ most.

import { Matrix, SVD } from "ml-matrix";

const MIN_VARIATION = 1e-6; // of vectors of unit length, in a direction

export interface Plane {
  project(vector: ArrayLike<number>): [number, number];
}

/** Returns the plane of between-group principal components. */
export function planeOfGroups(vectors: ArrayLike<number>[], groups: number[]): Plane {
  const D = vectors[0]?.length ?? 0;
  const means = [...new Set(groups)].map((group) =>
    meanOf(vectors.filter((_, i) => groups[i] === group), D),
  );
  const centre = meanOf(means, D);
  const basis = principalDirections(means.map((mean) => minus(mean, centre)), 2);
  if (basis.length < 2) {
    // The second direction is that in which the rest varies most.
    const rest = vectors.map((vector) => {
      const centred = minus(vector, centre);
      return basis.reduce((left, direction) => {
        const along = inner(left, direction);
        return left.map((value, d) => value - along * direction[d]!);
      }, centred);
    });
    basis.push(...principalDirections(rest, 2 - basis.length));
  }
  // The sign of a direction is arbitrary: the point farthest from the centre is on the right.
  const signs = basis.map((direction) => {
    const along = vectors.map((vector) => inner(minus(vector, centre), direction));
    const farthest = along.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
    return farthest < 0 ? -1 : 1;
  });
  return {
    project(vector) {
      const centred = minus(vector, centre);
      const at = (i: number) => (basis[i] ? signs[i]! * inner(centred, basis[i]!) : 0);
      return [at(0), at(1)];
    },
  };
}

function principalDirections(rows: number[][], n: number): number[][] {
  if (!rows.length || !rows[0]!.length) return [];
  const svd = new SVD(new Matrix(rows), { autoTranspose: true });
  const directions = svd.rightSingularVectors.transpose().to2DArray();
  return directions.slice(0, n).filter((_, i) => svd.diagonal[i]! > MIN_VARIATION);
}

function meanOf(vectors: ArrayLike<number>[], D: number): number[] {
  const mean = new Array<number>(D).fill(0);
  for (const vector of vectors) {
    for (let d = 0; d < D; d++) mean[d]! += vector[d]! / vectors.length;
  }
  return mean;
}

function minus(a: ArrayLike<number>, b: ArrayLike<number>): number[] {
  return Array.from(a, (value, d) => value - b[d]!);
}

function inner(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((sum, value, d) => sum + value * b[d]!, 0);
}
