// The panels by Grafana's own code: @grafana/data makes values of frames, @grafana/ui draws them.
// What Grafana keeps to itself is here: how its panel plugins call those two.

import {
  ConfigOverrideRule,
  createTheme,
  applyFieldOverrides,
  DataFrame,
  dateTime,
  DisplayValue,
  FieldConfigSource,
  FieldConfigOptionsRegistry,
  FieldDisplay,
  FieldType,
  formattedValueToString,
  getDisplayValueAlignmentFactors,
  getFieldDisplayName,
  getFieldDisplayValues,
  GrafanaTheme2,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  TimeRange,
  transformDataFrame,
  VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, UPlotConfigBuilder, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import * as React from 'react';
import { lastValueFrom } from 'rxjs';

import { Answer, framesOf } from './frames';

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  fieldConfig: FieldConfigSource;
  options: any;
  transformations?: any[];
}

/** What a panel says: a text, its colour by name, and what it is of. */
export interface Said {
  of: string;
  text: string;
  colour: string;
}

export interface Drawn {
  element: (width: number, height: number) => React.ReactElement;
  said: Said[];
  rows: Array<Record<string, Said>>;
}

interface Stage {
  panel: Panel;
  frames: DataFrame[];
  theme: GrafanaTheme2;
  range: TimeRange;
}

const COLOURS = ['green', 'yellow', 'orange', 'red', 'purple', 'blue', 'text'];

standardTransformersRegistry.setInit(() =>
  [...new Set(Object.values(standardTransformers))].map((transformer: any) => ({
    ...transformer,
    transformation: () => Promise.resolve(transformer),
    editor: () => null,
    imageDark: '',
    imageLight: '',
  }))
);

/** Return a panel, ready to be drawn, and what it says. */
export async function drawn(
  panel: Panel,
  answers: Answer[],
  theme: GrafanaTheme2,
  range: TimeRange
): Promise<Drawn> {
  const raw = framesOf(answers);
  const data = await lastValueFrom(transformDataFrame(panel.transformations ?? [], raw));
  const frames = applyFieldOverrides({
    data,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registryOf(panel.fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  return DRAWERS[panel.type]({ panel, frames, theme, range });
}

/** Return what Grafana registers for each option: those that this panel sets, as they are. */
function registryOf({ defaults, overrides }: FieldConfigSource): FieldConfigOptionsRegistry {
  const { custom = {}, ...standard } = defaults;
  const set = overrides.flatMap((rule: ConfigOverrideRule) => rule.properties.map(({ id }) => id));
  const ids = new Set([
    ...Object.keys(standard),
    ...Object.keys(custom).map((name) => `custom.${name}`),
    ...set,
  ]);
  const items = [...ids].map((id) => ({
    id,
    path: id.replace(/^custom\./, ''),
    name: id,
    isCustom: id.startsWith('custom.'),
    process: id === 'thresholds' ? thresholdsOverrideProcessor : identityOverrideProcessor,
    shouldApply: () => true,
    override: () => null,
    editor: () => null,
  }));
  return new FieldConfigOptionsRegistry(() => items as any);
}

const DRAWERS: Record<string, (stage: Stage) => Drawn> = {
  stat: statOf,
  bargauge: barGaugeOf,
  table: tableOf,
  timeseries: timeSeriesOf,
};

function valuesOf({ panel, frames, theme }: Stage): FieldDisplay[] {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
}

function statOf(stage: Stage): Drawn {
  const { options } = stage.panel;
  const values = valuesOf(stage);
  const element = (width: number, height: number) => (
    <VizRepeater<FieldDisplay, any>
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={(props) => (
        <BigValue
          value={props.value.display}
          width={props.width}
          height={props.height}
          count={props.count}
          alignmentFactors={props.count > 1 ? props.alignmentFactors : undefined}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
          text={options.text}
          theme={stage.theme}
        />
      )}
      width={width}
      height={height}
      source={values}
      renderCounter={0}
      autoGrid
      orientation={options.orientation}
    />
  );
  return { element, said: saidBy(values, stage.theme), rows: [] };
}

function barGaugeOf(stage: Stage): Drawn {
  const { options } = stage.panel;
  const values = valuesOf(stage);
  const element = (width: number, height: number) => (
    <VizRepeater<FieldDisplay, any>
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, ...props }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          width={props.width}
          height={props.height}
          orientation={props.orientation}
          alignmentFactors={props.alignmentFactors}
          displayMode={options.displayMode}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
          showUnfilled={options.showUnfilled}
          itemSpacing={options.displayMode === 'lcd' ? 2 : 10}
          text={options.text}
          theme={stage.theme}
        />
      )}
      width={width}
      height={height}
      source={values}
      renderCounter={0}
      orientation={options.orientation ?? VizOrientation.Auto}
      itemSpacing={options.displayMode === 'lcd' ? 2 : 10}
      minVizWidth={8}
      minVizHeight={options.sizing === 'manual' ? options.minVizHeight : 16}
      maxVizHeight={options.sizing === 'manual' ? options.maxVizHeight : 300}
    />
  );
  return { element, said: saidBy(values, stage.theme), rows: [] };
}

function tableOf({ panel, frames, theme }: Stage): Drawn {
  const frame = frames[0];
  if (!frame?.length) {
    return nothing(panel);
  }
  const shown = frame.fields.filter((field) => !field.config.custom?.hidden);
  const rows = Array.from({ length: frame.length }, (_, row) =>
    Object.fromEntries(
      shown.map((field) => {
        const name = getFieldDisplayName(field, frame, frames);
        return [name, saidOf(name, field.display!(field.values[row]), theme)];
      })
    )
  );
  const element = (width: number, height: number) => (
    <TableNG
      data={frame}
      width={width}
      height={height}
      noHeader={!panel.options.showHeader}
      cellHeight={panel.options.cellHeight}
      sortBy={panel.options.sortBy}
      noValue={panel.fieldConfig.defaults.noValue}
      fieldConfig={panel.fieldConfig}
      showTypeIcons={false}
      resizable
      timeRange={undefined}
    />
  );
  return { element, said: [], rows };
}

function timeSeriesOf({ panel, frames, theme, range }: Stage): Drawn {
  if (!frames.some((frame) => frame.length)) {
    return nothing(panel);
  }
  const said = frames.map((frame) => {
    const field = frame.fields.find(({ type }) => type === FieldType.number)!;
    const last = field.display!(field.values[frame.length - 1]);
    return { ...saidOf(getFieldDisplayName(field, frame, frames), last, theme), colour: '' };
  });
  const element = (width: number, height: number) => (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={range}
      timeZone="utc"
      legend={panel.options.legend}
    >
      {(builder: UPlotConfigBuilder) => <Scale builder={builder} id={panel.id} />}
    </TimeSeries>
  );
  return { element, said, rows: [] };
}

/** Note from where to where the vertical axis goes, as it is drawn. */
function Scale({ builder, id }: { builder: UPlotConfigBuilder; id: number }) {
  React.useMemo(() => {
    builder.addHook('draw', (plot) => {
      const { min, max } = plot.scales[plot.series[1].scale!];
      plot.root.dataset.from = String(min);
      plot.root.dataset.to = String(max);
    });
  }, [builder, id]);
  return null;
}

/** Grafana puts this text in the middle of a table or a chart that has no data. */
function nothing(panel: Panel): Drawn {
  const text = panel.fieldConfig.defaults.noValue ?? 'No data';
  const element = (width: number, height: number) => (
    <div style={{ width, height, display: 'grid', placeItems: 'center' }}>{text}</div>
  );
  return { element, said: [{ of: '', text, colour: '' }], rows: [] };
}

function saidBy(values: FieldDisplay[], theme: GrafanaTheme2): Said[] {
  return values.map(({ display }) => saidOf(display.title ?? '', display, theme));
}

function saidOf(of: string, value: DisplayValue, theme: GrafanaTheme2): Said {
  return { of, text: formattedValueToString(value), colour: nameOf(value.color, theme) };
}

function nameOf(colour: string | undefined, { visualization }: GrafanaTheme2): string {
  return COLOURS.find((name) => visualization.getColorByName(name) === colour) ?? colour ?? '';
}

export function themeOf(mode: 'light' | 'dark'): GrafanaTheme2 {
  return createTheme({ colors: { mode } });
}

export function rangeOf(from: number, to: number): TimeRange {
  const [start, end] = [dateTime(from * 1000), dateTime(to * 1000)];
  return { from: start, to: end, raw: { from: start, to: end } };
}
