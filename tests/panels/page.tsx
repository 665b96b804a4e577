// The page: window.draw lays the panels out as the dashboard does and returns what each of them says.

import { ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelChrome, PortalContainer } from '@grafana/ui';
import * as React from 'react';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';

import { Answer } from './frames';
import { Drawn, drawn, Panel, rangeOf, themeOf } from './panels';

interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

interface Placed {
  panel: Panel;
  box: Box;
  answers: Answer[];
}

interface Board {
  title: string;
  theme: 'light' | 'dark';
  width: number;
  height: number;
  from: number;
  to: number;
  panels: Placed[];
}

const MARGIN = 8;
const COLUMNS = 24;
const CELL = 30;

let drawing = 0;
const root = createRoot(document.getElementById('board')!);

async function draw({ title, theme: mode, width, height, from, to, panels }: Board) {
  drawing += 1;
  const theme = themeOf(mode);
  const range = rangeOf(from, to);
  const ready = await Promise.all(
    panels.map(({ panel, answers }) =>
      panel.type === 'row' ? null : drawn(panel, answers, theme, range)
    )
  );
  flushSync(() =>
    root.render(
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <PortalContainer />
        <div style={{ position: 'relative', width, height, background: theme.colors.background.canvas }}>
          <h1 style={{ ...theme.typography.h4, margin: 0, padding: '14px 16px' }}>{title}</h1>
          {panels.map((placed, index) => (
            <At key={`${drawing} ${index}`} width={width} placed={placed} ready={ready[index]} />
          ))}
        </div>
      </ThemeContext.Provider>
    )
  );
  await settled();
  return ready.map((each, index) => ({
    id: panels[index].panel.id,
    title: panels[index].panel.title,
    said: each?.said ?? [],
    rows: each?.rows ?? [],
    ...seen(document.querySelectorAll<HTMLElement>('[data-panel]')[index]),
  }));
}

/** Return what is on the page: texts, those that are cut off, whole columns, the ends of the axis. */
function seen(place: HTMLElement) {
  const edge = place.getBoundingClientRect().right;
  const elements = [...place.querySelectorAll<HTMLElement>('*')];
  const plot = place.querySelector<HTMLElement>('.uplot');
  return {
    text: place.innerText,
    cut: elements
      .filter((each) => getComputedStyle(each).textOverflow === 'ellipsis')
      .filter((each) => each.scrollWidth > each.clientWidth)
      .map((each) => each.innerText),
    columns: elements
      .filter((each) => each.role === 'columnheader')
      .filter((each) => each.getBoundingClientRect().right <= edge)
      .map((each) => each.innerText.trim()),
    axis: plot && [Number(plot.dataset.from), Number(plot.dataset.to)],
  };
}

/** Return once fonts are there and the page stays as it is for some frames. */
async function settled() {
  await document.fonts.ready;
  let before = '';
  for (let same = 0; same < 5; ) {
    await new Promise(requestAnimationFrame);
    const after = document.body.innerHTML;
    same = after === before ? same + 1 : 0;
    before = after;
  }
}

function At({ width, placed, ready }: { width: number; placed: Placed; ready: Drawn | null }) {
  const { panel, box } = placed;
  const column = (width - MARGIN) / COLUMNS;
  const style = {
    position: 'absolute' as const,
    left: box.x * column + MARGIN,
    top: box.y * (CELL + MARGIN) + 52,
    width: box.w * column - MARGIN,
    height: box.h * (CELL + MARGIN) - MARGIN,
  };
  return (
    <section style={style} data-panel={panel.id}>
      {ready ? (
        <PanelChrome title={panel.title} width={style.width} height={style.height}>
          {ready.element}
        </PanelChrome>
      ) : (
        <div style={{ fontSize: 16, fontWeight: 500, lineHeight: `${style.height}px` }}>
          {panel.title}
        </div>
      )}
    </section>
  );
}

/** Return a picture's rows as a PNG has them, with fewer colours: gradients make most of its size. */
async function slim(picture: string) {
  const bitmap = await createImageBitmap(await (await realFetch(picture)).blob());
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d')!;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const rows = new Uint8Array(height * (1 + width * 3));
  for (let pixel = 0, at = 0; pixel < width * height; pixel++) {
    at += pixel % width === 0 ? 1 : 0;
    for (const colour of data.subarray(pixel * 4, pixel * 4 + 3)) {
      rows[at++] = colour & 0xfc;
    }
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const reader = new FileReader();
  reader.readAsDataURL(await new Response(packed).blob());
  await new Promise((resolve) => (reader.onload = resolve));
  return { width, height, rows: String(reader.result).split(',')[1] };
}

// Grafana's icons are in no package.
const realFetch = window.fetch;
const noIcon = () => new Response('<svg xmlns="http://www.w3.org/2000/svg"/>');

Object.assign(window, { draw, slim, fetch: async () => noIcon() });
