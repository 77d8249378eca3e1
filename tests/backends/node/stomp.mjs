// stomp-broker-js: STOMP 1.1; a CONNECT with a wrong passcode is answered by an ERROR. It delivers no message to its
// sender, so the program sends each one once more, to all. A client that announces heartbeats must send them; to one
// that only asks for them it sends its own. node stomp.mjs PORT
import { createServer } from 'node:http';
import StompServer from 'stomp-broker-js';

const http = createServer((_, response) => response.end('ready'));
const server = new StompServer({ server: http, path: '/ws', heartbeat: [1000, 1000] });
server.addMiddleware('connect', (_, { headers }, next) => headers.passcode === 'good' && next());
server.subscribe('/**', (body, headers) => server.send(headers.destination, headers, body));
http.listen(Number(process.argv[2]), '127.0.0.1');
