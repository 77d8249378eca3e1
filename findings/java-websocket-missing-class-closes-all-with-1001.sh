#!/usr/bin/env bash
# Memory says: what a handler throws ends its own connection at most, with 1011 (internal error); 1001 is a server's goodbye.
# Seen: Java-WebSocket 1.6.0: an Exception in onMessage is swallowed, the connection stays open; an AssertionError closes it
#   with 1011; a NoClassDefFoundError (any LinkageError) closes every connection with 1001, and the server listens no more.
# Why it matters: one message that needs a class which is not in the image looks like a deploy, and nothing comes back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.java-websocket</groupId><artifactId>Java-WebSocket</artifactId><version>1.6.0</version></dependency>
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
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.java_websocket.handshake.ClientHandshake;
import org.java_websocket.server.WebSocketServer;

class Try {
  static WebSocketServer started() throws Exception {
    var up = new CountDownLatch(1);
    var server = new WebSocketServer(new InetSocketAddress("127.0.0.1", 0)) {
      public void onOpen(org.java_websocket.WebSocket ws, ClientHandshake handshake) {}

      public void onMessage(org.java_websocket.WebSocket ws, String text) {
        if (text.equals("Exception")) throw new IllegalStateException("broken");
        if (text.equals("AssertionError")) throw new AssertionError("broken");
        if (text.equals("NoClassDefFoundError")) throw new NoClassDefFoundError("not/in/the/Image");
      }

      public void onClose(org.java_websocket.WebSocket ws, int code, String reason, boolean remote) {}

      public void onError(org.java_websocket.WebSocket ws, Exception broken) {}

      public void onStart() { up.countDown(); }
    };
    server.start();
    up.await(20, TimeUnit.SECONDS);
    return server;
  }

  /** A client, and the code that it is closed with. */
  static WebSocket connected(int port, CompletableFuture<Integer> code) {
    return HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create("ws://127.0.0.1:" + port), new WebSocket.Listener() {
      public CompletableFuture<?> onClose(WebSocket ws, int status, String reason) {
        code.complete(status);
        return null;
      }
    }).join();
  }

  static String within(CompletableFuture<Integer> code, int seconds) throws Exception {
    try {
      return String.valueOf(code.get(seconds, TimeUnit.SECONDS));
    } catch (TimeoutException open) {
      return "open";
    }
  }

  public static void main(String[] arguments) throws Exception {
    var found = new StringBuilder();
    for (String fault : new String[] {"Exception", "AssertionError", "NoClassDefFoundError"}) {
      int port = 0;
      for (var server = started(); port == 0; ) port = server.getPort();
      var own = new CompletableFuture<Integer>();
      var other = new CompletableFuture<Integer>();
      connected(port, other);
      connected(port, own).sendText(fault, true);
      found.append(fault).append(": own ").append(within(own, fault.equals("Exception") ? 3 : 20));
      found.append(", other ").append(within(other, fault.equals("NoClassDefFoundError") ? 20 : 2));
      boolean serves = true;
      for (int turn = 0; serves && turn < (fault.equals("NoClassDefFoundError") ? 100 : 1); turn++) {
        try {
          connected(port, new CompletableFuture<>());
          Thread.sleep(100);
        } catch (CompletionException refused) {
          serves = false;
        }
      }
      found.append(serves ? ", new ones open\n" : ", new ones are refused\n");
    }
    System.out.print(found);
    String expected = """
        Exception: own open, other open, new ones open
        AssertionError: own 1011, other open, new ones open
        NoClassDefFoundError: own 1001, other 1001, new ones are refused
        """;
    System.exit(found.toString().equals(expected) ? 0 : 1);
  }
}
JAVA
java -cp 'lib/*' Try.java
