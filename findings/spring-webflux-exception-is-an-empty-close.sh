#!/usr/bin/env bash
# Memory says: a WebSocket handler of Spring WebFlux that fails closes with 1002 or 1011 and logs, and session.close(4401) sends 4401.
# Seen: Spring Boot 4.0.7 on Reactor Netty 1.3.6: once the handler reads session.receive(), an exception in it, or a
#   session.close(4401) after receive().next(), is an empty close frame (1005), and no exception is logged.
# Why it matters: a crash and a refused login look like a session that ended by itself, and the log says nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-parent</artifactId><version>4.0.7</version><relativePath/></parent>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-webflux</artifactId></dependency>
  </dependencies>
</project>
XML
mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
cat > Try.java <<'JAVA'
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.web.reactive.handler.SimpleUrlHandlerMapping;
import org.springframework.web.reactive.socket.CloseStatus;
import org.springframework.web.reactive.socket.WebSocketHandler;

@Configuration
@EnableAutoConfiguration
public class Try {
  @Bean
  SimpleUrlHandlerMapping sessions() {
    WebSocketHandler raises = session -> session.receive().doOnNext(message -> Integer.parseInt("boom")).then();
    WebSocketHandler refuses = session -> session.receive().next().then(session.close(new CloseStatus(4401, "bad token")));
    return new SimpleUrlHandlerMapping(Map.of("/raises", raises, "/refuses", refuses), 0);
  }

  static String codeAfterOneMessage(String url) throws Exception {
    var closed = new CompletableFuture<String>();
    var listener = new WebSocket.Listener() {
      public CompletableFuture<?> onClose(WebSocket ws, int status, String reason) {
        closed.complete(status + " '" + reason + "'");
        return null;
      }
    };
    HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(url), listener).get(30, TimeUnit.SECONDS)
        .sendText("hello", true);
    return closed.get(30, TimeUnit.SECONDS);
  }

  public static void main(String[] arguments) throws Exception {
    var application = new SpringApplication(Try.class);
    application.setDefaultProperties(Map.of("server.address", "127.0.0.1", "server.port", "0"));
    var port = application.run().getEnvironment().getProperty("local.server.port");
    String raised = codeAfterOneMessage("ws://127.0.0.1:" + port + "/raises");
    String refused = codeAfterOneMessage("ws://127.0.0.1:" + port + "/refuses");
    System.out.println("exception: " + raised + ", close(4401): " + refused);
    System.exit(raised.equals("1005 ''") && refused.equals("1005 ''") ? 0 : 1);
  }
}
JAVA
mkdir classes
javac -nowarn -d classes -cp 'lib/*' Try.java
java -XX:TieredStopAtLevel=1 -cp 'classes:lib/*' Try > log || { cat log; exit 1; }
grep -a "^exception:" log
! grep -aq "NumberFormatException" log
