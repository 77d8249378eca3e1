%% The cases of asgi_cases.py on Cowboy: erl -noshell -s cowboy_cases main PORT [MILLISECONDS], after which a quiet client is closed.
%% https://ninenines.eu/docs/en/cowboy/2.8/guide/ws_handlers/
-module(cowboy_cases).
-export([main/1, init/2, websocket_init/1, websocket_handle/2, websocket_info/2]).

main([Port]) -> main([Port, '60000']);
main([Port, Idle]) ->
    {ok, _} = application:ensure_all_started(cowboy),
    Routes = [{"/" ++ Path, ?MODULE, {Path, number(Idle)}} || Path <- paths()],
    {ok, _} = cowboy:start_clear(
        web,
        [{ip, {127, 0, 0, 1}}, {port, number(Port)}],
        #{env => #{dispatch => cowboy_router:compile([{'_', Routes}])}}
    ).

number(Atom) -> list_to_integer(atom_to_list(Atom)).

paths() ->
    [
        "ready", "raises-before", "returns-before", "refuses", "refuses-401", "raises-after", "raises-on-message",
        "returns-after", "returns-on-message", "closes-4401", "closes-1008", "closes-1011", "echo", "silent", "deaf"
    ].

init(Req, {"ready", _} = State) -> {ok, cowboy_req:reply(200, Req), State};
init(_, {"raises-before", _}) -> error(broken_before_it_accepted);
init(Req, {"returns-before", _} = State) -> {ok, Req, State};
init(Req, {"refuses", _} = State) -> {ok, cowboy_req:reply(403, Req), State};
init(Req, {"refuses-401", _} = State) -> {ok, cowboy_req:reply(401, Req), State};
init(Req, {Path, Idle}) -> {cowboy_websocket, Req, Path, #{max_frame_size => 1024, idle_timeout => Idle}}.

websocket_init("raises-after") -> error(broken_after_it_accepted);
websocket_init("returns-after") -> {stop, done};
websocket_init("closes-4401") -> {[{close, 4401, <<"bad token">>}], done};
websocket_init("closes-1008") -> {[{close, 1008, <<"bad token">>}], done};
websocket_init(Path) -> {ok, Path}.

websocket_handle({text, _}, "raises-on-message") -> error(broken_by_a_message);
websocket_handle({text, _}, "returns-on-message") -> {stop, done};
websocket_handle({text, _}, "closes-1011") -> {[{close, 1011, <<"broken">>}], done};
websocket_handle({text, Text}, "echo") -> {[{text, Text}], "echo"};
websocket_handle({text, _}, "deaf") -> timer:sleep(infinity);
websocket_handle({text, _}, Path) -> io:format("got~n"), {ok, Path};
websocket_handle(_, Path) -> {ok, Path}.

websocket_info(_, Path) -> {ok, Path}.
