// What the person chose ↔ the fragment of the address, so that a view can be kept or shared.

import type { Steering } from "./engine";
import type { Explorer } from "./data";

export const MAX_WEIGHT = 3;
export const LENGTHS = [10, 20, 50]; // of the list of recommendations

export interface Choice extends Steering {
  user: number | null; // null: a history that was typed
  history: number[];
  item: number | null; // whose causes and similar items are shown
}

/** Returns the choice of a user with neutral steering. */
export function choiceOf(data: Explorer, user: number | null): Choice {
  return {
    user,
    history: user === null ? [] : data.historyOf(user),
    item: null,
    k: LENGTHS[0]!,
    weights: new Array<number>(data.config.K).fill(1),
    diversity: 0,
    includeSeen: !data.excludeSeen,
  };
}

export function readFragment(data: Explorer, fragment: string): Choice {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  const user = data.users.indexOf(fields.get("user") ?? "");
  const history = fields.get("history");
  const isTyped = history !== null || (user < 0 && fields.has("user"));
  const choice = choiceOf(data, isTyped || !data.users.length ? null : Math.max(user, 0));
  if (history) choice.history = itemsOf(data, history);
  const weights = fields.get("weights")?.split(",").map(Number) ?? [];
  choice.weights = choice.weights.map((weight, j) => limited(weights[j], 0, MAX_WEIGHT, weight));
  choice.diversity = limited(Number(fields.get("diversity") ?? 0), 0, 1, 0);
  choice.k = Math.round(limited(Number(fields.get("k") ?? choice.k), 1, data.n, choice.k));
  if (fields.has("seen")) choice.includeSeen = fields.get("seen") === "1";
  const [item] = itemsOf(data, fields.get("item") ?? "");
  choice.item = item ?? null;
  return choice;
}

export function writeFragment(data: Explorer, choice: Choice): string {
  const neutral = choiceOf(data, choice.user);
  const fields = new URLSearchParams();
  if (choice.user !== null) fields.set("user", data.users[choice.user]!);
  else fields.set("history", encodeIds(data, choice.history));
  if (choice.weights.some((weight) => weight !== 1)) fields.set("weights", choice.weights.join(","));
  if (choice.diversity) fields.set("diversity", String(choice.diversity));
  if (choice.k !== neutral.k) fields.set("k", String(choice.k));
  if (choice.includeSeen !== neutral.includeSeen) fields.set("seen", choice.includeSeen ? "1" : "0");
  if (choice.item !== null) fields.set("item", encodeIds(data, [choice.item]));
  return "#" + fields.toString();
}

function encodeIds(data: Explorer, items: number[]): string {
  return items.map((item) => encodeURIComponent(data.ids[item]!)).join(",");
}

const numbers = new WeakMap<Explorer, Map<string, number>>();

function itemsOf(data: Explorer, text: string): number[] {
  let byId = numbers.get(data);
  if (!byId) numbers.set(data, (byId = new Map(data.ids.map((id, i) => [id, i]))));
  return text.split(",").flatMap((part) => byId.get(decoded(part)) ?? []);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not written by this page
  }
}

function limited(value: number | undefined, low: number, high: number, otherwise: number): number {
  return value === undefined || Number.isNaN(value) ? otherwise : Math.min(Math.max(value, low), high);
}
