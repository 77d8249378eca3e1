// socket.io 4: everybody may enter `/`, and `/admin` with the token. node socketio.mjs PORT
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer((request, response) => {
  if (request.url === '/ready') response.end('ready');
});
const io = new Server(http, { transports: ['websocket'] });
const echo = (socket) => socket.on('echo', (value, answer) => (answer ? answer(value) : socket.emit('echo', value)));
io.on('connection', echo);
io.of('/admin').use((socket, next) => {
  const refusal = Object.assign(new Error('not authorized'), { data: { code: 'E401' } });
  next(socket.handshake.auth.token === 'good' ? undefined : refusal);
}).on('connection', echo);
process.on('SIGTERM', () => io.close());
http.listen(Number(process.argv[2]), '127.0.0.1');
