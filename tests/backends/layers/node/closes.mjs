// ws on a server that a person wants gone at once: SIGTERM closes, and ends all connections that Node knows, as the
// documentation of http.Server says. node closes.mjs PORT
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const http = createServer((_, response) => response.end('ready'));
const ws = new WebSocketServer({ server: http });
ws.on('connection', (socket) => socket.on('message', () => console.log('got')));
process.on('SIGTERM', () => {
  http.close();
  http.closeAllConnections();
});
http.listen(Number(process.argv[2]), '127.0.0.1');
