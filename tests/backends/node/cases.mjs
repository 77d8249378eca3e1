// ws with the cases of asgi_cases.py; a listener that throws ends the process. node cases.mjs PORT
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const fails = () => { throw new Error('broken'); };
const CASES = {
  '/raises-after': fails,
  '/raises-on-message': (socket) => socket.on('message', fails),
  '/closes-4401': (socket) => socket.close(4401, 'bad token'),
  '/closes-1008': (socket) => socket.close(1008, 'bad token'),
  '/closes-1011': (socket) => socket.on('message', () => socket.close(1011, 'broken')),
  '/echo': (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })),
  '/silent': (socket) => socket.on('message', () => console.log('got')),
  '/deaf': (socket) => socket.on('message', () => socket.pause()),
};
const STATUSES = { '/refuses': '403 Forbidden', '/refuses-401': '401 Unauthorized' };

const http = createServer((request, response) => {
  response.statusCode = request.url === '/ready' ? 200 : 426;
  response.end('ready');
});
const ws = new WebSocketServer({ noServer: true, maxPayload: 1024 });
http.on('upgrade', (request, socket, head) => {
  if (request.url === '/raises-before') throw new Error('broken');
  if (request.url in STATUSES) return socket.end(`HTTP/1.1 ${STATUSES[request.url]}\r\nContent-Length: 0\r\n\r\n`);
  if (!(request.url in CASES)) return socket.destroy();
  ws.handleUpgrade(request, socket, head, (opened) => {
    opened.on('error', console.error);
    CASES[request.url](opened);
  });
});
http.listen(Number(process.argv[2]), '127.0.0.1');
