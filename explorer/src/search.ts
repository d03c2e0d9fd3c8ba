// What a person types → the entries that have all words of it.

const MAX_RESULTS = 40;

export interface Entry {
  id: number;
  text: string;
  detail: string; // "" if there is nothing to add
}

export type Search = (query: string) => Entry[];

/** Returns a function that searches texts and details, regardless of case and accents.
 *
 * Exact matches come first, then those at the start; of equals, the first of `entries`.
 */
export function makeSearch(entries: Entry[]): Search {
  const folded = entries.map(({ text, detail }) => [fold(text), fold(detail)] as const);
  return (query) => {
    const start = fold(query);
    const words = start.split(" ");
    const ranked: Entry[][] = [[], [], []];
    folded.forEach(([text, detail], i) => {
      if (text === start || detail === start) ranked[0]!.push(entries[i]!);
      else if (text.startsWith(start)) ranked[1]!.push(entries[i]!);
      else if (words.every((word) => text.includes(word) || detail.includes(word))) {
        ranked[2]!.push(entries[i]!);
      }
    });
    return ranked.flat().slice(0, MAX_RESULTS);
  };
}

function fold(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replace(/\s+/g, " ").trim();
}
