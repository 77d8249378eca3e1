#!/usr/bin/env bash
# Memory says: with an uncaughtException handler a Node server outlives a listener that throws, and its connections too.
# Seen: ws 8.23.0, a "message" listener that throws once: that connection stays open and reads nothing any more, neither
#   messages nor pings nor our close; new connections work; an async listener that throws harms nothing.
# Why it matters: checks that open a connection each stay green, pings time out late; a close without an answer tells.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts ws@8.23.0
cat > try.mjs <<'NODE'
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { WebSocket, WebSocketServer } from 'ws';

const version = JSON.parse(readFileSync('node_modules/ws/package.json')).version;
process.on('uncaughtException', () => {});
process.on('unhandledRejection', () => {});
const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
await once(server, 'listening');
server.on('connection', (socket, request) => {
  const answer = (data) => {
    if (String(data) === 'break') throw new Error('broken');
    socket.send(String(data));
  };
  socket.on('message', request.url === '/async' ? async (data) => answer(data) : answer);
});

// What of a message, a ping and a close is answered within two seconds each, before and after the listener threw.
async function heard(socket, event, ask) {
  const came = once(socket, event).then(() => true);
  ask();
  return Promise.race([came, new Promise((done) => setTimeout(done, 2000, false))]);
}

async function tried(path) {
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}${path}`);
  await once(socket, 'open');
  const before = await heard(socket, 'message', () => socket.send('before'));
  socket.send('break');
  const message = await heard(socket, 'message', () => socket.send('after'));
  const ping = await heard(socket, 'pong', () => socket.ping());
  const fresh = new WebSocket(`ws://127.0.0.1:${server.address().port}${path}`);
  await once(fresh, 'open');
  const other = await heard(fresh, 'message', () => fresh.send('other'));
  const open = socket.readyState === WebSocket.OPEN;
  const close = await heard(socket, 'close', () => socket.close(1000));
  fresh.terminate();
  socket.terminate();
  return { before, message, ping, open, close, other };
}

const thrown = await tried('/');
const rejected = await tried('/async');
console.log(`node ${process.version}, ws ${version}`);
console.log('a listener that throws:      ', JSON.stringify(thrown));
console.log('an async listener that throws:', JSON.stringify(rejected));
const deaf = { before: true, message: false, ping: false, open: true, close: false, other: true };
const well = { before: true, message: true, ping: true, open: true, close: true, other: true };
const same = (one, two) => JSON.stringify(one) === JSON.stringify(two);
process.exit(same(thrown, deaf) && same(rejected, well) ? 0 : 1);
NODE
node try.mjs
