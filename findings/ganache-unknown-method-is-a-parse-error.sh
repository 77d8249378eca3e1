#!/usr/bin/env bash
# Memory says: JSON-RPC 2.0 has -32601 for a method that does not exist, and -32700 for what is no JSON, without an id.
# Seen: ganache 7.9.2 answers an unknown method over WebSocket with -32700 ("Parse error"'s code) and the request's id.
# Why it matters: a probe that calls a method which does not exist, and waits for -32601, takes a healthy node for a broken one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts ws@8.23.0 ganache@7.9.2
cat > try.mjs <<'NODE'
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import ganache from 'ganache';
import WebSocket from 'ws';

const version = JSON.parse(readFileSync('node_modules/ganache/package.json')).version;
const server = ganache.server({ logging: { quiet: true } });
await server.listen(0, '127.0.0.1');
const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}/`);
await once(socket, 'open');

async function asked(id, method) {
  socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params: [] }));
  const [data] = await once(socket, 'message');
  return JSON.parse(String(data));
}

const known = await asked(1, 'eth_chainId');
const unknown = await asked(2, 'no_such_method');
console.log(`ganache ${version}: eth_chainId ${JSON.stringify(known.result)}; no_such_method id ${unknown.id}, code ${unknown.error?.code}`);
socket.terminate();
await server.close();
process.exit(known.result === '0x539' && unknown.id === 2 && unknown.error?.code === -32700 ? 0 : 1);
NODE
node try.mjs 2>/dev/null
