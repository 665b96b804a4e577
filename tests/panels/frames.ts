// Prometheus' answers as the data frames that Grafana's Prometheus data source makes of them.

import { DataFrame, Field, FieldType, Labels } from '@grafana/data';

type Sample = [number, string];

export interface Query {
  refId: string;
  format?: string;
  legendFormat?: string;
}

export interface Series {
  metric: Labels;
  value?: Sample;
  values?: Sample[];
}

export interface Answer {
  query: Query;
  result: Series[];
}

/** Return one frame per series, or one table per query if its format is "table". */
export function framesOf(answers: Answer[]): DataFrame[] {
  const tables = answers.filter(({ query }) => query.format === 'table');
  const rest = answers.filter(({ query }) => query.format !== 'table');
  return [
    ...rest.flatMap(({ query, result }) => result.map((series) => frameOf(query, series))),
    ...tables.map(({ query, result }) => tableOf(query, result, tables.length > 1)),
  ];
}

function frameOf(query: Query, series: Series): DataFrame {
  const samples = samplesOf(series);
  const config = { displayNameFromDS: legendOf(query, series.metric) };
  return frame(query, [
    { name: 'Time', type: FieldType.time, config: {}, values: samples.map(milliseconds) },
    {
      name: 'Value',
      type: FieldType.number,
      config,
      labels: series.metric,
      values: samples.map(number),
    },
  ]);
}

/** Return the labels as columns between time and value; of several queries each value is named. */
function tableOf(query: Query, result: Series[], several: boolean): DataFrame {
  const rows = result.flatMap((series) => samplesOf(series).map((sample) => ({ series, sample })));
  const names = [...new Set(result.flatMap(({ metric }) => Object.keys(metric).sort()))];
  return frame(query, [
    {
      name: 'Time',
      type: FieldType.time,
      config: {},
      values: rows.map(({ sample }) => milliseconds(sample)),
    },
    ...names.map((name) => ({
      name,
      type: FieldType.string,
      config: { filterable: true },
      values: rows.map(({ series }) => series.metric[name] ?? ''),
    })),
    {
      name: several ? `Value #${query.refId}` : 'Value',
      type: FieldType.number,
      config: {},
      values: rows.map(({ sample }) => number(sample)),
    },
  ]);
}

function frame({ refId }: Query, fields: Field[]): DataFrame {
  return { refId, fields, length: fields[0].values.length };
}

function samplesOf({ value, values }: Series): Sample[] {
  return values ?? (value ? [value] : []);
}

function milliseconds([seconds]: Sample): number {
  return Math.round(seconds * 1000);
}

function number([, text]: Sample): number {
  return Number(text.replace('Inf', 'Infinity'));
}

function legendOf({ legendFormat = '' }: Query, labels: Labels): string {
  return legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '').trim();
}
