// Interests, history and recommendations of a person → a picture of them in a plane.

import { useLayoutEffect, useMemo, useRef, useState } from "react";

import { colorOf } from "./colors";
import type { Explorer } from "./data";
import { type Engine, type Interests, type Recommendation, routingShares } from "./engine";
import { planeOfGroups } from "./plane";

const HEIGHT = 380;
const MARGIN = 28;
const CHARACTER_WIDTH = 6.3; // of labels, on average
const LABEL_HEIGHT = 14;
const MAX_CHARACTERS = 26;
const GAP = 3;
const LABELS_PER_INTEREST = 3; // of history items
// Directions from a marker to its label, in the order in which they are tried.
const DIRECTIONS = [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, 1], [1, -1], [-1, -1]] as const;

interface Point {
  kind: "interest" | "recommended" | "history";
  item: number; // -1 for interests
  interest: number;
  weight: number; // from 0 to 1
  at: [number, number];
}

interface Props {
  data: Explorer;
  engine: Engine;
  interests: Interests;
  recommended: Recommendation[];
  selected: number | null;
  onSelect(item: number): void;
}

export function InterestMap({ data, engine, interests, recommended, selected, onSelect }: Props) {
  const [width, setWidth] = useState(560);
  const frame = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(entry!.contentRect.width));
    observer.observe(frame.current!);
    return () => observer.disconnect();
  }, []);

  // Steering changes neither the interests nor the history, so it moves no axis.
  const places = useMemo(() => placesOf(data, engine, interests), [data, engine, interests]);
  const points: Point[] = places
    ? [
        ...places.history,
        ...recommended.map(({ item, interest, score }) => ({
          kind: "recommended" as const,
          item,
          interest,
          weight: score,
          at: places.project(engine.unitVector(item)),
        })),
        ...places.interests,
      ]
    : [];
  const scale = scaleOf(points, width);
  const labels = useMemo(
    () => placeLabels(data, points, scale, width, selected),
    // the points follow from these
    [data, places, recommended, width, selected],
  );
  const centres = new Map(places?.interests.map((point) => [point.interest, scale(point.at)]));
  const description =
    `Map of ${places?.interests.length ?? 0} interests, ${places?.history.length ?? 0} items of ` +
    `the history and ${recommended.length} recommendations; the lists name all of them.`;

  return (
    <div ref={frame} className="map">
      {places ? (
        <svg width={width} height={HEIGHT} role="img" aria-label={description}>
          {points.map((point, i) => {
            const centre = centres.get(point.interest);
            const [x, y] = scale(point.at);
            return point.kind !== "interest" && centre ? (
              <line key={i} x1={centre[0]} y1={centre[1]} x2={x} y2={y}
                stroke={colorOf(point.interest)} className="link" />
            ) : null;
          })}
          {points.map((point, i) => (
            <Marker key={i} point={point} at={scale(point.at)} isSelected={point.item === selected && point.item >= 0}
              label={nameOf(data, point)}
              onSelect={() => point.item >= 0 && onSelect(point.item)} />
          ))}
          {labels.map(({ text, x, y, anchor, isStrong }, i) => (
            <text key={i} x={x} y={y} textAnchor={anchor} className={isStrong ? "label strong" : "label"}>
              {text}
            </text>
          ))}
        </svg>
      ) : (
        <p className="empty">No interest is in use: add items to the history.</p>
      )}
      <ul className="legend" aria-label="Legend">
        <li><svg width="16" height="16" aria-hidden><path d={star(8, 8, 7)} className="neutral" /></svg> interest</li>
        <li><svg width="16" height="16" aria-hidden><path d={diamond(8, 8, 5)} className="neutral" /></svg> recommended</li>
        <li><svg width="16" height="16" aria-hidden><circle cx="8" cy="8" r="5" className="neutral" /></svg> history, sized by weight</li>
      </ul>
    </div>
  );
}

interface MarkerProps {
  point: Point;
  at: [number, number];
  isSelected: boolean;
  label: string;
  onSelect(): void;
}

function Marker({ point, at: [x, y], isSelected, label, onSelect }: MarkerProps) {
  const shared = {
    fill: colorOf(point.interest),
    className: `marker ${point.kind}${isSelected ? " selected" : ""}`,
    onClick: onSelect,
    children: <title>{label}</title>,
  };
  if (point.kind === "history") return <circle cx={x} cy={y} r={radiusOf(point)} {...shared} />;
  if (point.kind === "recommended") return <path d={diamond(x, y, radiusOf(point))} {...shared} />;
  return (
    <g>
      <path d={star(x, y, radiusOf(point))} {...shared} />
    </g>
  );
}

function placesOf(data: Explorer, engine: Engine, interests: Interests) {
  const { D } = data.config;
  const inUse = interests.used.flatMap((used, j) => (used ? [j] : []));
  if (!inUse.length) return null;
  const weights = new Map<number, number[]>(); // an item may be in the history several times
  for (const j of inUse) {
    routingShares(interests, j).forEach((share, l) => {
      const item = interests.newest[l]!;
      const shares = weights.get(item) ?? new Array<number>(data.config.K).fill(0);
      shares[j]! += share;
      weights.set(item, shares);
    });
  }
  const items = [...weights.keys()];
  const best = items.map((item) => {
    const shares = weights.get(item)!;
    return shares.indexOf(Math.max(...shares));
  });
  const directions = inUse.map((j) => interests.vectors.subarray(j * D, j * D + D));
  const plane = planeOfGroups(
    [...directions, ...items.map((item) => engine.unitVector(item))],
    [...inUse, ...best],
  );
  return {
    project: plane.project,
    interests: inUse.map((interest, i): Point => ({
      kind: "interest", item: -1, interest, weight: 1, at: plane.project(directions[i]!),
    })),
    history: items.map((item, i): Point => ({
      kind: "history",
      item,
      interest: best[i]!,
      weight: Math.max(...weights.get(item)!),
      at: plane.project(engine.unitVector(item)),
    })),
  };
}

function scaleOf(points: Point[], width: number) {
  const range = (axis: 0 | 1) => {
    const values = points.map((point) => point.at[axis]);
    const low = Math.min(...values);
    const high = Math.max(...values);
    return high - low > 1e-9 ? [low, high] : [low - 1, low + 1];
  };
  const [left, right] = range(0) as [number, number];
  const [bottom, top] = range(1) as [number, number];
  return ([x, y]: [number, number]): [number, number] => [
    MARGIN + ((x - left) / (right - left)) * Math.max(width - 2 * MARGIN, 1),
    HEIGHT - MARGIN - ((y - bottom) / (top - bottom)) * (HEIGHT - 2 * MARGIN),
  ];
}

function radiusOf(point: Point): number {
  if (point.kind === "interest") return 11;
  if (point.kind === "recommended") return 6;
  return 3 + 7 * Math.sqrt(Math.min(Math.max(point.weight, 0), 1));
}

function nameOf(data: Explorer, point: Point): string {
  return point.item < 0 ? `Interest ${point.interest}` : data.labels[point.item]!;
}

interface Label {
  text: string;
  x: number;
  y: number;
  anchor: "start" | "middle" | "end";
  isStrong: boolean;
}

type Box = [left: number, top: number, right: number, bottom: number];

/** Writes labels beside markers, where they overlap neither each other nor a marker. */
function placeLabels(
  data: Explorer,
  points: Point[],
  scale: (at: [number, number]) => [number, number],
  width: number,
  selected: number | null,
) {
  const boxes = points.map((point): Box => {
    const [x, y] = scale(point.at);
    const r = radiusOf(point);
    return [x - r, y - r, x + r, y + r];
  });
  const taken = [...boxes];
  const byWeight = points.map((_, i) => i).sort((a, b) => points[b]!.weight - points[a]!.weight);
  const counts = new Map<number, number>();
  const heavy = byWeight.filter((i) => {
    const { kind, interest } = points[i]!;
    if (kind !== "history") return false;
    counts.set(interest, (counts.get(interest) ?? 0) + 1);
    return counts.get(interest)! <= LABELS_PER_INTEREST;
  });
  const ofKind = (kind: Point["kind"]) => byWeight.filter((i) => points[i]!.kind === kind);
  const chosen = byWeight.filter((i) => points[i]!.item === selected && selected !== null);
  const order = new Set([...chosen, ...ofKind("interest"), ...ofKind("recommended"), ...heavy]);
  const labels: Label[] = [];
  for (const i of order) {
    const point = points[i]!;
    const name = point.item < 0 ? String(point.interest) : shorten(nameOf(data, point));
    const isStrong = point.item < 0 || point.item === selected;
    const half = [(name.length * CHARACTER_WIDTH * (isStrong ? 1.08 : 1)) / 2, LABEL_HEIGHT / 2] as const;
    const [x, y] = scale(point.at);
    for (const [dx, dy] of DIRECTIONS) {
      const cx = x + dx * (radiusOf(point) + GAP + half[0]);
      const cy = y + dy * (radiusOf(point) + GAP + half[1]);
      const box: Box = [cx - half[0], cy - half[1], cx + half[0], cy + half[1]];
      const isInside = box[0] >= 2 && box[1] >= 2 && box[2] <= width - 2 && box[3] <= HEIGHT - 2;
      if (!isInside || taken.some((other) => other !== boxes[i] && overlap(box, other))) continue;
      taken.push(box);
      const [anchor, edge] = (
        { "-1": ["end", box[2]], "0": ["middle", cx], "1": ["start", box[0]] } as const
      )[dx];
      labels.push({ text: name, x: edge, y: cy + 4, anchor, isStrong });
      break;
    }
  }
  return labels;
}

function overlap(a: Box, b: Box): boolean {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

function shorten(text: string): string {
  const characters = [...text];
  return characters.length <= MAX_CHARACTERS
    ? text
    : characters.slice(0, MAX_CHARACTERS - 1).join("").trimEnd() + "…";
}

function star(x: number, y: number, r: number): string {
  const corners = Array.from({ length: 10 }, (_, i) => {
    const length = i % 2 ? r * 0.45 : r;
    const angle = (Math.PI * i) / 5;
    return `${(x + length * Math.sin(angle)).toFixed(2)},${(y - length * Math.cos(angle)).toFixed(2)}`;
  });
  return `M${corners.join("L")}Z`;
}

function diamond(x: number, y: number, r: number): string {
  return `M${x},${y - r}L${x + r},${y}L${x},${y + r}L${x - r},${y}Z`;
}
