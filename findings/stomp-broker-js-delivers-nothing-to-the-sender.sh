#!/usr/bin/env bash
# Memory says: who has subscribed to a STOMP topic gets what is sent to it, his own messages too, as on RabbitMQ.
# Seen: stomp-broker-js 1.3.0 on ws 8.23.0 delivers a message to every subscriber but its sender, and says nothing of it.
# Why it matters: a probe that sends to a topic of its own and waits for the message finds a healthy broker silent.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts ws@8.23.0 stomp-broker-js@1.3.0
cat > try.mjs <<'NODE'
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import StompServer from 'stomp-broker-js';
import WebSocket from 'ws';

const version = JSON.parse(readFileSync('node_modules/stomp-broker-js/package.json')).version;
const http = createServer();
new StompServer({ server: http, path: '/ws' });
http.listen(0, '127.0.0.1');
await once(http, 'listening');

// A client that is connected and subscribed; `got` are the bodies of the messages that it was sent.
async function client() {
  const socket = new WebSocket(`ws://127.0.0.1:${http.address().port}/ws`, ['v12.stomp', 'v11.stomp']);
  const frames = [];
  const waiting = [];
  socket.on('message', (data) => {
    frames.push(String(data));
    waiting.splice(0).forEach((go) => go());
  });
  const until = async (found) => {
    while (!frames.some(found)) await new Promise((go) => waiting.push(go));
  };
  await once(socket, 'open');
  socket.send('CONNECT\naccept-version:1.1\nhost:/\n\n\0');
  await until((frame) => frame.startsWith('CONNECTED'));
  socket.send('SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0');
  const got = () => frames.filter((frame) => frame.startsWith('MESSAGE')).map((frame) => frame.split('\n\n')[1].replace('\0', ''));
  return { socket, until, got };
}

const [one, two] = [await client(), await client()];
one.socket.send('SEND\ndestination:/topic/a\n\nof one\0');
await two.until((frame) => frame.startsWith('MESSAGE'));
two.socket.send('SEND\ndestination:/topic/a\n\nof two\0');
await one.until((frame) => frame.startsWith('MESSAGE'));
console.log(`stomp-broker-js ${version}: one got ${JSON.stringify(one.got())}, two got ${JSON.stringify(two.got())}`);
const seen = JSON.stringify([one.got(), two.got()]);
process.exit(seen === JSON.stringify([['of two'], ['of one']]) ? 0 : 1);
NODE
node try.mjs
