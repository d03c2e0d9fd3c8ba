// What a person types → the entries that have all words of it.

const MAX_RESULTS = 40;

export interface Entry {
  id: number;
  text: string;
  detail: string; // "" if there is nothing to add
}

export type Search = (query: string) => Entry[];

/** Returns a function that searches texts and details, regardless of case and accents. */
export function makeSearch(entries: Entry[]): Search {
  const folded = entries.map(({ text, detail }) => fold(`${text} ${detail}`));
  return (query) => {
    const words = fold(query).split(" ").filter(Boolean);
    const start = words.join(" ");
    const first: Entry[] = [];
    const others: Entry[] = [];
    folded.forEach((text, i) => {
      if (first.length >= MAX_RESULTS) return;
      if (text.startsWith(start)) first.push(entries[i]!);
      else if (others.length < MAX_RESULTS && words.every((word) => text.includes(word))) {
        others.push(entries[i]!);
      }
    });
    first.sort((a, b) => a.text.length - b.text.length); // an exact match first
    return [...first, ...others].slice(0, MAX_RESULTS);
  };
}

function fold(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replace(/\s+/g, " ").trim();
}
