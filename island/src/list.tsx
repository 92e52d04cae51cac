import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { PAGE } from "./source";
import { failed, FLAGS, fork, has, mark, span, took, tool, type Fork, type Index, type Row } from "./wire";

/** Pixels of a row, as the style sheet has it. */
const HEIGHT = 34;
/** Rows beyond the edges that are there before anybody scrolls to them. */
const BEYOND = 8;

/** The frames, one below the other; only those that can be seen are there. */
export function List(props: {
  index: Index;
  at: number;
  rows: Map<number, Row[]>;
  need: (page: number) => void;
  go: (frame: number) => void;
}) {
  const { index, at, rows, need } = props;
  const box = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, height: 800 });

  useLayoutEffect(() => {
    const list = box.current;
    if (!list) return;
    const look = () => setSeen({ top: list.scrollTop, height: list.clientHeight });
    look();
    list.addEventListener("scroll", look, { passive: true });
    const sizes = new ResizeObserver(look);
    sizes.observe(list);
    return () => {
      list.removeEventListener("scroll", look);
      sizes.disconnect();
    };
  }, []);

  useLayoutEffect(() => {
    const list = box.current;
    if (!list) return;
    const top = (at - 1) * HEIGHT;
    // Some rows stay visible beyond the chosen one, so that one sees where one is going.
    const room = Math.min(3 * HEIGHT, list.clientHeight / 3);
    if (top < list.scrollTop + room) list.scrollTop = Math.max(top - room, 0);
    else if (top + HEIGHT > list.scrollTop + list.clientHeight - room) {
      list.scrollTop = top + HEIGHT - list.clientHeight + room;
    }
  }, [at]);

  const first = Math.max(Math.floor(seen.top / HEIGHT) - BEYOND, 0) + 1;
  const last = Math.min(Math.ceil((seen.top + seen.height) / HEIGHT) + BEYOND, index.frames);
  const pages = `${Math.floor((first - 1) / PAGE)}-${Math.floor((last - 1) / PAGE)}`;
  useEffect(() => {
    for (let page = Math.floor((first - 1) / PAGE); page * PAGE < last; page++) need(page);
  }, [pages, rows]);

  const frames = Array.from({ length: Math.max(last - first + 1, 0) }, (_, place) => first + place);
  return (
    <div
      ref={box}
      class="list"
      role="listbox"
      tabindex={0}
      aria-label="Frames"
      aria-activedescendant={`f${at}`}
    >
      <div class="all" style={{ height: `${index.frames * HEIGHT}px` }}>
        {frames.map((frame) => {
          const [tone, icon, word] = mark(index, frame);
          const [what, said] = rows.get(Math.floor((frame - 1) / PAGE))?.[(frame - 1) % PAGE]
            ?? [tool(index, frame) ?? "", ""];
          return (
            <div
              key={frame}
              id={`f${frame}`}
              role="option"
              aria-selected={frame === at}
              aria-posinset={frame}
              aria-setsize={index.frames}
              style={{ transform: `translateY(${(frame - 1) * HEIGHT}px)` }}
              onClick={() => props.go(frame)}
            >
              <span class="number">{frame}</span>
              <span class={`icon ${tone}`} aria-hidden="true">{icon}</span>
              <span class="words">
                <span class="hidden">{word}: </span>
                <b>{what}</b> {said}
                {failed(index, frame) && <span class="deny"> · failed</span>}
                {has(index, frame, FLAGS.near) && <span class="ask"> · near miss</span>}
                {has(index, frame, FLAGS.changed) && <span class="deny"> · changed since it was written</span>}
              </span>
              <Begun of={fork(index, frame)} />
              <span class="took">{span(took(index, frame))}</span>
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** That runs began at a frame, and what people look for in them. */
function Begun({ of }: { of: Fork | undefined }) {
  if (!of) return null;
  const [, runs, denied, asked, failures] = of;
  return (
    <span class="fork">
      <span aria-hidden="true">↳ {runs}</span>
      <span class="hidden">, {runs} {runs === 1 ? "run" : "runs"} within</span>
      {denied > 0 && <span class="deny"> ✕ {denied}<span class="hidden"> denied</span></span>}
      {asked > 0 && <span class="ask"> ? {asked}<span class="hidden"> asked</span></span>}
      {failures > 0 && !denied && <span class="deny"> ! {failures}<span class="hidden"> failed</span></span>}
    </span>
  );
}
