"""A server of HTTP/2 alone that takes a WebSocket as RFC 8441 has it: 200, and no Sec-WebSocket-Accept. `… PORT`.

A request of HTTP/1.1 is answered, too, so that whoever starts the server sees that it is up.
"""

import asyncio
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

OLD_CLIENT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def serve(reader, writer):
    connection = H2Connection(H2Configuration(client_side=False))
    connection.local_settings.enable_connect_protocol = 1
    connection.initiate_connection()
    data = await reader.read(65_536)
    if not data.startswith(b"PRI "):
        writer.write(OLD_CLIENT)
        writer.close()
        return
    while data:
        for event in connection.receive_data(data):
            if isinstance(event, RequestReceived):
                connection.send_headers(event.stream_id, [(":status", "200")])
        writer.write(connection.data_to_send())
        data = await reader.read(65_536)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
