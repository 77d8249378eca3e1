// rpc-websockets: one method works, one throws, one is limited, others do not exist. node rpc.mjs PORT
import { createServer } from 'node:http';
import { Server } from 'rpc-websockets';

const http = createServer((_, response) => response.end('ready'));
const rpc = new Server({ server: http });
rpc.register('works', () => 'ok');
rpc.register('throws', () => { throw new Error('broken'); });
rpc.register('limited', () => { throw rpc.createError(-32005, 'limit exceeded', 'slow down'); });
http.listen(Number(process.argv[2]), '127.0.0.1');
