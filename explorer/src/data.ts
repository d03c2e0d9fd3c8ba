// The JSON in the page, written by skmind/inspection/_explore.py → typed arrays and texts.

export type Weights = Record<string, Float32Array>;

interface Packed {
  scale: string; // float32, one per row
  values: string; // int16
}

interface Payload {
  title: string;
  notes: string[];
  config: Explorer["config"];
  exclude_seen: boolean;
  temperature: number | null;
  n_events: number;
  items: {
    ids: string[];
    titles: string[] | null;
    counts: string; // uint32
    allowed: string | null; // uint8; null: all
    vectors: Packed;
  };
  users: {
    ids: string[];
    offsets: string; // uint32
    items: string; // uint16
    profiles: Packed | null;
  };
  weights: Record<string, string>; // float32
}

/** What the page knows: items, users and the network. */
export interface Explorer {
  title: string;
  notes: string[];
  config: {
    D: number;
    K: number;
    maxHistory: number;
    nRoutingIter: number;
    adaptive: boolean;
    nLayers: number;
    nHeads: number;
  };
  excludeSeen: boolean;
  temperature: number | null; // of the soft maximum; null: the highest cosine
  nEvents: number;
  n: number; // items
  ids: string[];
  labels: string[]; // titles, or ids where there are none
  counts: Uint32Array;
  vectors: Float32Array; // n × D
  weights: Weights;
  users: string[];
  isAllowed(item: number): boolean; // whether it may be recommended
  historyOf(user: number): number[];
  profileOf(user: number): Float64Array | null;
}

export function readExplorer(text: string): Explorer {
  const payload = JSON.parse(text) as Payload;
  const { items, users, config } = payload;
  const allowed = items.allowed === null ? null : bytes(items.allowed);
  const offsets = new Uint32Array(bytes(users.offsets).buffer);
  const events = new Uint16Array(bytes(users.items).buffer);
  const profiles = users.profiles && unpack(users.profiles, config.D);
  return {
    title: payload.title,
    notes: payload.notes,
    config,
    excludeSeen: payload.exclude_seen,
    temperature: payload.temperature,
    nEvents: payload.n_events,
    n: items.ids.length,
    ids: items.ids,
    labels: items.ids.map((id, i) => items.titles?.[i] || id),
    counts: new Uint32Array(bytes(items.counts).buffer),
    vectors: unpack(items.vectors, config.D),
    weights: Object.fromEntries(
      Object.entries(payload.weights).map(([name, values]) => [
        name,
        new Float32Array(bytes(values).buffer),
      ]),
    ),
    users: users.ids,
    isAllowed: (item) => allowed === null || allowed[item] === 1,
    historyOf: (user) => Array.from(events.subarray(offsets[user], offsets[user + 1])),
    profileOf: (user) =>
      profiles && Float64Array.from(profiles.subarray(user * config.D, (user + 1) * config.D)),
  };
}

function bytes(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function unpack(packed: Packed, D: number): Float32Array {
  const scale = new Float32Array(bytes(packed.scale).buffer);
  const values = new Int16Array(bytes(packed.values).buffer);
  return Float32Array.from(values, (value, i) => value * scale[Math.floor(i / D)]!);
}
