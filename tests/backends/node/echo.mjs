// node ws that echoes. node echo.mjs PORT
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const http = createServer((request, response) => {
  response.statusCode = request.url === '/ready' ? 200 : 426;
  response.end('ready');
});
const ws = new WebSocketServer({ server: http });
ws.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
http.listen(Number(process.argv[2]), '127.0.0.1');
