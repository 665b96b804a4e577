// The page: window.draw lays the panels out as the dashboard does and returns what each of them says.

import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';
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
  from: number;
  to: number;
  panels: Placed[];
}

const MARGIN = 8;
const COLUMNS = 24;
const CELL = 30;

let drawing = 0;
const root = createRoot(document.getElementById('board')!);

async function draw({ title, theme: mode, width, from, to, panels }: Board) {
  drawing += 1;
  const theme = themeOf(mode);
  const range = rangeOf(from, to);
  const ready = await Promise.all(
    panels.map(({ panel, answers }) =>
      panel.type === 'row' ? null : drawn(panel, answers, theme, range)
    )
  );
  const height = Math.max(...panels.map(({ box }) => box.y + box.h)) * (CELL + MARGIN) + 60;
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
  }));
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

Object.assign(window, { draw });
