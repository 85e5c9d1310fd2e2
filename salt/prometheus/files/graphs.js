// The page of graphs. graphs.json says what to draw, and Prometheus answers with the numbers.
'use strict'

// without a password, which a browser may have in the page's address and does not take from there
const API = `${location.origin}/prometheus/api/v1/`
const GRAPHS = `${location.origin}/graphs/graphs.json`
const RANGES = { '1h': 3600, '6h': 6 * 3600, '1d': 86400, '1w': 7 * 86400 }
const POINTS = 240
const EVERY = 30000
const WIDTH = 600
const HEIGHT = 200
const SVG = 'http://www.w3.org/2000/svg'

const range = () => RANGES[location.hash.slice(1)] ? location.hash.slice(1) : '6h'
const colour = (place) => `hsl(${(place * 137) % 360}, 65%, ${40 + (place % 3) * 8}%)`

function scaled (value, step, names) {
  let place = 0
  while (Math.abs(value) >= step && place < names.length - 1) {
    value /= step
    place += 1
  }
  return `${Number(value.toPrecision(3))} ${names[place]}`.trim()
}

function shown (value, unit) {
  if (unit === 'ratio') return `${(value * 100).toFixed(1)} %`
  if (unit === 'bytes') return scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB'])
  if (unit === 'bytes per second') return scaled(value, 1024, ['B/s', 'KiB/s', 'MiB/s', 'GiB/s'])
  if (unit === 'seconds') return value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(1)} s`
  if (unit === 'per second') return `${value.toFixed(value < 10 ? 2 : 0)} /s`
  return scaled(value, 1000, ['', 'k', 'M', 'G'])
}

function element (name, attributes, ...children) {
  const drawn = ['svg', 'path', 'line', 'rect'].includes(name)
  const made = drawn ? document.createElementNS(SVG, name) : document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

async function asked (question, parameters = {}) {
  const answer = await fetch(`${API}${question}?${new URLSearchParams(parameters)}`)
  const body = await answer.json()
  if (body.status !== 'success') throw new Error(body.error)
  return body.data
}

// A gap in the numbers is a gap in the line.
function outline (values, start, seconds, step, most) {
  let last = -Infinity
  return values.map(([time, text]) => {
    const x = (time - start) / seconds * WIDTH
    const y = HEIGHT - Number(text) / most * HEIGHT
    const word = time - last > step * 1.5 ? 'M' : 'L'
    last = time
    return `${word}${x.toFixed(1)} ${y.toFixed(1)}`
  }).join('')
}

function drawn (graph, lines, start, seconds, step) {
  const numbers = lines.flatMap((line) => line.values.map((one) => Number(one[1])))
  const most = Math.max(...numbers.filter(Number.isFinite), graph.unit === 'ratio' ? 0.01 : 0) || 1
  const picture = element('svg', { viewBox: `0 -4 ${WIDTH} ${HEIGHT + 8}`, preserveAspectRatio: 'none' })
  for (const part of [0, 0.5, 1]) {
    picture.append(element('line', { x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }))
  }
  const legend = element('div', { class: 'legend' })
  lines.forEach((line, place) => {
    const finite = line.values.filter((one) => Number.isFinite(Number(one[1])))
    const path = outline(finite, start, seconds, step, most)
    picture.append(element('path', { d: path, stroke: colour(place) }))
    const box = element('svg', { viewBox: '0 0 1 1' },
      element('rect', { width: 1, height: 1, fill: colour(place) }))
    const name = graph.legend.map((label) => line.metric[label]).join(' ')
    const latest = finite.length ? shown(Number(finite[finite.length - 1][1]), graph.unit) : ''
    legend.append(element('span', {}, box, `${name} ${latest}`))
  })
  const at = (time) => new Date(time * 1000).toLocaleString([], { dateStyle: 'short', timeStyle: 'short' })
  const bottom = element('div', { class: 'axis' }, element('span', {}, at(start)), element('span', {}, at(start + seconds)))
  return [element('div', { class: 'axis' }, `up to ${shown(most, graph.unit)}`), picture, bottom, legend]
}

async function draw (graph, place) {
  const seconds = RANGES[range()]
  const step = Math.max(Math.ceil(seconds / POINTS), 15)
  const start = Math.floor(Date.now() / 1000 / step) * step - seconds
  let content
  try {
    const answer = await asked('query_range', { query: graph.expr, start, end: start + seconds, step })
    content = answer.result.length
      ? drawn(graph, answer.result, start, seconds, step)
      : [element('p', { class: 'none' }, 'no numbers')]
  } catch (error) {
    content = [element('p', { class: 'none' }, String(error))]
  }
  place.replaceChildren(element('h2', {}, graph.title), ...content)
}

async function alerts () {
  const place = document.getElementById('alerts')
  const found = (await asked('alerts')).alerts.filter((one) => one.state === 'firing')
  const lines = found.map((one) =>
    element('li', { class: 'firing' }, `${one.labels.alertname}: ${one.annotations.summary}`))
  place.replaceChildren(...(lines.length ? lines : [element('li', {}, 'No alerts')]))
}

async function main () {
  const graphs = await (await fetch(GRAPHS)).json()
  const places = graphs.map(() => element('section', {}))
  document.getElementById('graphs').append(...places)
  const all = () => {
    document.getElementById('ranges').replaceChildren(...Object.keys(RANGES).map((name) =>
      element('a', { href: `#${name}`, class: name === range() ? 'chosen' : '' }, name)))
    alerts().catch((error) => document.getElementById('alerts').replaceChildren(String(error)))
    graphs.forEach((graph, number) => draw(graph, places[number]))
  }
  addEventListener('hashchange', all)
  setInterval(all, EVERY)
  all()
}

main()
