// The colours of interests, as in skmind/inspection/_plotting.py: Okabe and Ito's.

const PALETTE = ["#0082C8", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"];
const GREY = "#8C8C8C";

export function colorOf(interest: number): string {
  return interest < 0 ? GREY : PALETTE[interest % PALETTE.length]!;
}
