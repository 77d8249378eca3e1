// graphql-ws on node ws: closes with 4406 without its subprotocol, and with 4403 for a wrong token. node graphql.mjs PORT
import { createServer } from 'node:http';
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

const query = new GraphQLObjectType({ name: 'Query', fields: { hello: { type: GraphQLString, resolve: () => 'hi' } } });
const http = createServer((_, response) => response.end('ready'));
const ws = new WebSocketServer({ server: http, path: '/graphql' });
const onConnect = ({ connectionParams: params }) =>
  (!params?.wanted || params.token === 'good-token') && (!params?.authorization || params.authorization === 'Bearer good');
const server = useServer({ schema: new GraphQLSchema({ query }), onConnect }, ws);
process.on('SIGTERM', async () => {
  await server.dispose();
  http.close();
});
http.listen(Number(process.argv[2]), '127.0.0.1');
