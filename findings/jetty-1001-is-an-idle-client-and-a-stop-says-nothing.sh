#!/usr/bin/env bash
# Memory says: a quiet WebSocket stays open for minutes, and 1001 (going away) is how a server says that it stops.
# Seen: Jetty 12.1.14 with its own settings closes with 1001 `Connection Idle Timeout` after 30 s in which nobody sent
#   anything, and stop() of its server ends the open WebSockets without a close frame.
# Why it matters: a 1001 looks like a deploy and is a quiet client, and the real deploy looks like a crash.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.eclipse.jetty.websocket</groupId><artifactId>jetty-websocket-jetty-server</artifactId><version>12.1.14</version></dependency>
  </dependencies>
</project>
XML
mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
cat > Try.java <<'JAVA'
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.ContextHandler;
import org.eclipse.jetty.websocket.api.Session;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

public class Try {
  public static class Quiet extends Session.Listener.AbstractAutoDemanding {}

  static CompletableFuture<String> opened(int port) throws Exception {
    var ended = new CompletableFuture<String>();
    var listener = new WebSocket.Listener() {
      public CompletableFuture<?> onClose(WebSocket ws, int status, String reason) {
        ended.complete(status + " '" + reason + "'");
        return null;
      }
    };
    HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create("ws://127.0.0.1:" + port), listener)
        .get(30, TimeUnit.SECONDS);
    return ended;
  }

  public static void main(String[] arguments) throws Exception {
    var server = new Server(new InetSocketAddress("127.0.0.1", 0));
    var context = new ContextHandler("/");
    context.setHandler(WebSocketUpgradeHandler.from(
        server, context, container -> container.addMapping("/*", (request, response, callback) -> new Quiet())));
    server.setHandler(context);
    server.start();
    int port = ((ServerConnector) server.getConnectors()[0]).getLocalPort();
    long begun = System.nanoTime();
    String quiet = opened(port).get(90, TimeUnit.SECONDS);
    long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - begun);
    var running = opened(port);
    server.stop();
    String stopped = running.get(30, TimeUnit.SECONDS);
    System.out.println("quiet: " + quiet + " after " + seconds + " s, stop() is " + stopped);
    // Java's client says 1006 of a connection that ends without a close frame.
    boolean isSame = quiet.equals("1001 'Connection Idle Timeout'") && seconds >= 30 && stopped.equals("1006 ''");
    System.exit(isSame ? 0 : 1);
  }
}
JAVA
java -cp 'lib/*' Try.java
