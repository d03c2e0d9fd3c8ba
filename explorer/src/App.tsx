// The page: a person, the person's interests with their weights, recommendations and a map.

import { useEffect, useMemo, useRef, useState } from "react";
import {
  Button, ComboBox, GridList, GridListItem, Input, Label, ListBox, ListBoxItem, Meter, Popover,
  Slider, SliderOutput, SliderThumb, SliderTrack, Switch, Text, ToggleButton, ToggleButtonGroup,
} from "react-aria-components";

import { colorOf } from "./colors";
import type { Explorer } from "./data";
import { Engine, type Interests, type Recommendation, routingShares } from "./engine";
import { InterestMap } from "./InterestMap";
import { type Entry, makeSearch, type Search } from "./search";
import {
  type Choice, choiceOf, LENGTHS, MAX_WEIGHT, readFragment, writeFragment,
} from "./state";

const N_CAUSES = 3; // in the list of recommendations
const N_SHOWN_CAUSES = 6; // of the selected item
const N_SIMILAR = 8;
const N_NEAREST = 4; // items that describe an interest
const N_SHOWN_HISTORY = 12;

export function App({ data }: { data: Explorer }) {
  const engine = useMemo(() => new Engine(data), [data]);
  const [choice, setChoice] = useState(() => readFragment(data, location.hash));
  const change = (part: Partial<Choice>) => setChoice((old) => ({ ...old, ...part }));

  useEffect(() => {
    const read = () => setChoice(readFragment(data, location.hash));
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, [data]);
  useEffect(() => {
    try {
      history.replaceState(null, "", writeFragment(data, choice));
    } catch {
      // A page inside a notebook has no address of its own.
    }
  }, [data, choice]);

  const { user, history: seen } = choice;
  const interests = useMemo(
    () => engine.encode(seen, user === null ? null : data.profileOf(user)),
    [engine, data, seen, user],
  );
  const recommended = engine.recommend(seen, interests, choice);
  const selected = choice.item ?? recommended[0]?.item ?? null;
  const setHistory = (items: number[]) =>
    // Somebody else from now on, and without the features of the user.
    change({ history: items, user: null, item: null });

  return (
    <>
      <header>
        <h1>{data.title}</h1>
        {data.notes.map((note) => <p key={note}>{note}</p>)}
      </header>
      <main>
        <section className="person" aria-labelledby="person">
          <h2 id="person">Person</h2>
          <Person data={data} choice={choice} change={change} setHistory={setHistory} />
          <History data={data} interests={interests} choice={choice} change={change} setHistory={setHistory} />
        </section>
        <section className="interests" aria-labelledby="interests">
          <h2 id="interests">Interests</h2>
          <InterestCards {...{ data, engine, interests, recommended, choice, change }} />
        </section>
        <section className="recommended" aria-labelledby="recommended">
          <h2 id="recommended">Recommendations</h2>
          <Options choice={choice} change={change} />
          <p role="status" className="hidden">
            {recommended.length} recommendations
            {recommended[0] && `, the first is ${data.labels[recommended[0].item]}`}
          </p>
          <Recommendations {...{ data, engine, interests, recommended, selected, change }} />
        </section>
        <section className="map-section" aria-labelledby="map">
          <h2 id="map">Map</h2>
          <InterestMap {...{ data, engine, interests, recommended, selected }}
            onSelect={(item) => change({ item })} />
        </section>
        {selected !== null && (
          <section className="detail" aria-labelledby="detail">
            <h2 id="detail">{data.labels[selected]}</h2>
            <Detail {...{ data, engine, interests, recommended, selected, choice, change, setHistory }} />
          </section>
        )}
      </main>
    </>
  );
}

interface Changes {
  data: Explorer;
  choice: Choice;
  change(part: Partial<Choice>): void;
  setHistory(items: number[]): void;
}

// ------------------------------------------------------------------ person

function Person({ data, choice, change, setHistory }: Changes) {
  const searchUsers = useMemo(
    () => makeSearch(data.users.map((id, i) => ({ id: i, text: id, detail: "" }))),
    [data],
  );
  const searchItems = useMemo(
    () =>
      makeSearch(
        data.ids
          .map((id, i) => ({ id: i, text: data.labels[i]!, detail: data.labels[i] === id ? "" : id }))
          .sort((a, b) => data.counts[b.id]! - data.counts[a.id]!), // the most frequent ones first
      ),
    [data],
  );
  const { user } = choice;
  return (
    <div className="pickers">
      {data.users.length > 0 && (
        <SearchBox
          label="User"
          placeholder="Search by id"
          search={searchUsers}
          chosen={user === null ? "" : data.users[user]!}
          onChoose={(code) => change({ ...choiceOf(data, code), k: choice.k })}
        />
      )}
      <SearchBox
        label="Add to the history"
        placeholder="Search by title or id"
        search={searchItems}
        chosen=""
        onChoose={(item) => setHistory([...choice.history, item])}
      />
      <Button onPress={() => setHistory([])} isDisabled={!choice.history.length}>
        Start an empty history
      </Button>
    </div>
  );
}

interface SearchBoxProps {
  label: string;
  placeholder: string;
  search: Search;
  chosen: string; // text of the current choice; "": the box is empty after each choice
  onChoose(id: number): void;
}

/** A box for the next choice. After each choice a new one, with the focus, takes its place. */
function SearchBox(props: SearchBoxProps) {
  const [nChoices, setNChoices] = useState(0);
  const wasChosen = useRef(false);
  useEffect(() => {
    wasChosen.current = false;
  });
  return (
    <OneSearchBox
      {...props}
      key={`${nChoices} ${props.chosen}`}
      autoFocus={wasChosen.current}
      onChoose={(id) => {
        wasChosen.current = true;
        setNChoices(nChoices + 1);
        props.onChoose(id);
      }}
    />
  );
}

function OneSearchBox({ label, placeholder, search, chosen, onChoose, autoFocus }:
  SearchBoxProps & { autoFocus: boolean }) {
  const [text, setText] = useState(chosen);
  const found = useMemo(() => search(text === chosen ? "" : text), [search, text, chosen]);
  return (
    <ComboBox<Entry>
      items={found}
      value={null}
      inputValue={text}
      onInputChange={setText}
      onChange={(key) => {
        if (key !== null) onChoose(Number(key));
      }}
      onBlur={() => setText(chosen)}
      autoFocus={autoFocus}
      allowsEmptyCollection
      allowsCustomValue
    >
      <Label>{label}</Label>
      <div className="box">
        <Input placeholder={placeholder} onFocus={(event) => event.currentTarget.select()} />
        <Button aria-label={`Show ${label.toLowerCase()}`}>▾</Button>
      </div>
      <Popover>
        <ListBox<Entry> renderEmptyState={() => <p className="empty">Nothing found</p>}>
          {(entry) => (
            <ListBoxItem id={entry.id} textValue={entry.text}>
              <Text slot="label">{entry.text}</Text>
              {entry.detail && <Text slot="description">{entry.detail}</Text>}
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </ComboBox>
  );
}

function History({ data, interests, choice, change, setHistory }: Changes & { interests: Interests }) {
  const [showsAll, setShowsAll] = useState(false);
  const { newest } = interests;
  const shares = useMemo(
    () => interests.used.map((used, j) => (used ? routingShares(interests, j) : null)),
    [interests],
  );
  const all = choice.history.map((item, place) => ({ item, place })).reverse(); // newest first
  const shown = showsAll ? all : all.slice(0, N_SHOWN_HISTORY);
  return (
    <>
      <h3 id="history">
        History <span className="count">{choice.history.length} items, newest first</span>
      </h3>
      <GridList
        aria-labelledby="history"
        className="rows history"
        items={shown.map(({ item, place }, l) => ({ id: place, item, l }))}
        dependencies={[interests, data]}
        onAction={(place) => change({ item: choice.history[Number(place)]! })}
        renderEmptyState={() => <p className="empty">Empty: search for items that the person liked.</p>}
      >
        {({ id, item, l }) => {
          const weights = shares.map((share) => (l < newest.length && share ? share[l]! : 0));
          const highest = Math.max(...weights, 0);
          return (
            <GridListItem id={id} textValue={data.labels[item]!}>
              <Badge interest={highest > 0 ? weights.indexOf(highest) : -1} />
              <span className="name">{data.labels[item]}</span>
              <span className="number" title="Largest weight in an interest">
                {l < newest.length ? percent(highest) : "too old"}
              </span>
              <Button className="remove" aria-label={`Remove ${data.labels[item]}`}
                onPress={() => setHistory(choice.history.filter((_, place) => place !== id))}>
                ×
              </Button>
            </GridListItem>
          );
        }}
      </GridList>
      {all.length > N_SHOWN_HISTORY && (
        <Button className="more" onPress={() => setShowsAll(!showsAll)}>
          {showsAll ? "Show fewer" : `Show all ${all.length}`}
        </Button>
      )}
    </>
  );
}

// ------------------------------------------------------------------ interests

interface View {
  data: Explorer;
  engine: Engine;
  interests: Interests;
  recommended: Recommendation[];
}

function InterestCards({ data, engine, interests, recommended, choice, change }:
  View & Pick<Changes, "choice" | "change">) {
  const { D } = data.config;
  const described = useMemo(
    () =>
      interests.used.map((used, j) => {
        if (!used) return null;
        const nearest = engine.nearest(interests.vectors.subarray(j * D, j * D + D), N_NEAREST);
        const shares = routingShares(interests, j);
        const causes = Array.from(shares, (share, l) => ({ share, item: interests.newest[l]! }));
        causes.sort((a, b) => b.share - a.share);
        return { nearest, causes: causes.slice(0, N_NEAREST) };
      }),
    [engine, interests, D],
  );
  if (!interests.used.some(Boolean)) {
    return <p className="empty">None: the history is empty, so that the most frequent items are recommended.</p>;
  }
  return (
    <div className="cards">
      {described.map((description, j) => {
        if (!description) return null;
        const n = recommended.filter(({ interest }) => interest === j).length;
        return (
          <article key={j} className="card" aria-label={`Interest ${j}`}>
            <h3>
              <Badge interest={j} /> Interest {j}
              <span className="count">{n} of {recommended.length}</span>
            </h3>
            <dl>
              <dt>Near</dt>
              <dd>{description.nearest.map(({ item }) => data.labels[item]).join(" · ")}</dd>
              {description.causes.length > 0 && <dt>From</dt>}
              {description.causes.length > 0 && (
                <dd>
                  {description.causes
                    .map(({ item, share }) => `${data.labels[item]} ${percent(share)}`)
                    .join(" · ")}
                </dd>
              )}
            </dl>
            <Steer label="Weight" accessibleName={`Weight of interest ${j}`} value={choice.weights[j]!}
              maxValue={MAX_WEIGHT}
              onChange={(weight) =>
                change({ weights: choice.weights.map((old, i) => (i === j ? weight : old)), item: null })} />
          </article>
        );
      })}
    </div>
  );
}

interface SteerProps {
  label: string;
  accessibleName?: string;
  value: number;
  maxValue: number;
  onChange(value: number): void;
}

function Steer({ label, accessibleName, value, maxValue, onChange }: SteerProps) {
  return (
    <Slider aria-label={accessibleName ?? label} value={value} maxValue={maxValue} step={0.05}
      onChange={onChange} className="slider">
      <Label aria-hidden>{label}</Label>
      <SliderTrack className="track">
        {({ state }) => (
          <>
            <div className="rail" />
            <div className="fill" style={{ width: `${state.getThumbPercent(0) * 100}%` }} />
            <SliderThumb className="thumb" />
          </>
        )}
      </SliderTrack>
      <SliderOutput>{value.toFixed(2)}</SliderOutput>
    </Slider>
  );
}

// ------------------------------------------------------------------ recommendations

function Options({ choice, change }: Pick<Changes, "choice" | "change">) {
  const isNeutral = !choice.diversity && choice.weights.every((weight) => weight === 1);
  return (
    <div className="options">
      <Steer label="Diversity" value={choice.diversity} maxValue={1}
        onChange={(diversity) => change({ diversity, item: null })} />
      <ToggleButtonGroup aria-label="Number of recommendations" selectedKeys={[choice.k]}
        disallowEmptySelection className="lengths"
        onSelectionChange={(keys) => change({ k: Number([...keys][0]) })}>
        {LENGTHS.map((k) => <ToggleButton key={k} id={k}>{k}</ToggleButton>)}
      </ToggleButtonGroup>
      <Switch isSelected={choice.includeSeen} onChange={(includeSeen) => change({ includeSeen, item: null })}>
        <span className="indicator" /> Items of the history, too
      </Switch>
      <Button isDisabled={isNeutral}
        onPress={() => change({ weights: choice.weights.map(() => 1), diversity: 0, item: null })}>
        Reset weights
      </Button>
    </div>
  );
}

function Recommendations({ data, engine, interests, recommended, selected, change }:
  View & { selected: number | null } & Pick<Changes, "change">) {
  return (
    <GridList
      aria-labelledby="recommended"
      className="rows recommendations"
      selectionMode="single"
      selectionBehavior="replace"
      disallowEmptySelection
      selectedKeys={selected === null ? [] : [selected]}
      onSelectionChange={(keys) => {
        const [item] = [...(keys as Set<number>)];
        if (item !== undefined) change({ item });
      }}
      items={recommended.map((row, i) => ({ id: row.item, rank: i + 1, ...row }))}
      dependencies={[interests, data]}
      renderEmptyState={() => <p className="empty">No item is left to recommend.</p>}
    >
      {({ id, rank, item, score, interest }) => {
        const causes = engine
          .explain(interests, interest, item)
          .filter(({ contribution }) => contribution > 0)
          .slice(0, N_CAUSES);
        return (
          <GridListItem id={id} textValue={data.labels[item]!} data-item={data.ids[item]} data-interest={interest}>
            <span className="rank">{rank}</span>
            <Badge interest={interest} />
            <span className="name">
              {data.labels[item]}
              <small>
                {interest < 0
                  ? "a frequent item"
                  : causes.length
                    ? `because of ${causes.map((cause) => data.labels[cause.item]).join(" · ")}`
                    : "by the order of the history or the features of the user"}
              </small>
            </span>
            <span className="number" title={`${interest < 0 ? "Share of all interactions" : "Score"} ${score}`}>
              {score.toFixed(3)}
            </span>
          </GridListItem>
        );
      }}
    </GridList>
  );
}

function Detail({ data, engine, interests, recommended, selected, choice, change, setHistory }:
  View & Changes & { selected: number }) {
  const { D } = data.config;
  const similar = useMemo(() => engine.similar(selected, N_SIMILAR), [engine, selected]);
  const row = recommended.find(({ item }) => item === selected);
  const cosines = interests.used.map((used, j) =>
    used ? engine.cosine(interests.vectors, j * D, selected) : -Infinity,
  );
  const highest = Math.max(...cosines);
  const interest = row ? row.interest : highest > -Infinity ? cosines.indexOf(highest) : -1;
  const causes = engine.explain(interests, interest, selected);
  const known = causes.reduce((sum, { contribution }) => sum + contribution, 0);
  const shown = causes.filter(({ contribution }) => contribution > 0).slice(0, N_SHOWN_CAUSES);
  const largest = Math.max(...shown.map(({ contribution }) => contribution), 1e-9);
  const cosine = interest < 0 ? 0 : cosines[interest]!;
  const hasFeatures = choice.user !== null && data.profileOf(choice.user) !== null;
  const others = [data.config.nLayers && "its order", hasFeatures && "the features of the user"]
    .filter(Boolean)
    .join(" and ");
  return (
    <>
      <p className="facts">
        <code>{data.ids[selected]}</code> · {data.counts[selected]!.toLocaleString("en")} interactions
        <Button onPress={() => setHistory([...choice.history, selected])}>Add to the history</Button>
      </p>
      <div className="columns">
        <div>
          <h3>Causes</h3>
          {interest < 0 ? (
            <p className="empty">No interest is in use.</p>
          ) : (
            <>
              <p>
                <Badge interest={interest} /> Cosine {cosine.toFixed(3)} to interest {interest}, of which{" "}
                {known.toFixed(3)} from the history
                {Math.abs(cosine - known) > 5e-4 &&
                  ` and ${(cosine - known).toFixed(3)} from ${others}`}.
              </p>
              <ul className="causes">
                {shown.map(({ item, contribution }, i) => (
                  <li key={i}>
                    <Meter aria-label={data.labels[item]!} value={contribution} maxValue={largest}
                      valueLabel={contribution.toFixed(3)}>
                      {({ percentage }) => (
                        <>
                          <Label>{data.labels[item]}</Label>
                          <span className="number">{contribution.toFixed(3)}</span>
                          <div className="bar">
                            <div style={{ width: `${percentage}%`, background: colorOf(interest) }} />
                          </div>
                        </>
                      )}
                    </Meter>
                  </li>
                ))}
              </ul>
            </>
          )}
        </div>
        <div>
          <h3 id="similar">Similar items</h3>
          <GridList aria-labelledby="similar" className="rows similar"
            items={similar.map((found) => ({ id: found.item, ...found }))} dependencies={[data]}
            onAction={(item) => change({ item: Number(item) })}>
            {({ id, item, score }) => (
              <GridListItem id={id} textValue={data.labels[item]!} data-item={data.ids[item]}>
                <span className="name">{data.labels[item]}</span>
                <span className="number" title="Cosine">{score.toFixed(3)}</span>
              </GridListItem>
            )}
          </GridList>
        </div>
      </div>
    </>
  );
}

function Badge({ interest }: { interest: number }) {
  return (
    <span className="badge" style={{ background: colorOf(interest) }}
      title={interest < 0 ? "No interest" : `Interest ${interest}`}>
      {interest < 0 ? "–" : interest}
    </span>
  );
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
