// node ws whose process outlives a handler that throws: that connection reads nothing any more. node throws.mjs PORT
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

process.on('uncaughtException', () => {});
const http = createServer((_, response) => response.end('ready'));
const ws = new WebSocketServer({ server: http });
ws.on('connection', (socket, request) => socket.on('message', (data, binary) => {
  if (request.url === '/after') socket.send(data, { binary });
  throw new Error('broken');
}));
http.listen(Number(process.argv[2]), '127.0.0.1');
