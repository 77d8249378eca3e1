// The OTLP receiver of Prometheus, with its own storage and query engine: Debian's Prometheus is built without it.
//
//	otlp-receiver PORT FOLDER [STRATEGY]
//
// POST /api/v1/otlp/v1/metrics and GET /api/v1/query?query=… mean what they mean in Prometheus, whose packages answer.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
)

const lookback = 5 * time.Minute

func main() {
	port, folder := os.Args[1], os.Args[2]
	configured := config.DefaultConfig
	if len(os.Args) > 3 {
		configured.OTLPConfig.TranslationStrategy = otlptranslator.TranslationStrategyOption(os.Args[3])
	}
	storage, err := tsdb.Open(folder, slog.Default(), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		log.Fatal(err)
	}
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: lookback, EnableAtModifier: true,
		Parser: parser.NewParser(parser.Options{}),
	})
	handler := remote.NewOTLPWriteHandler(slog.Default(), nil, storage,
		func() config.Config { return configured }, remote.OTLPOptions{LookbackDelta: lookback})
	http.Handle("POST /api/v1/otlp/v1/metrics", handler)
	http.HandleFunc("GET /-/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /api/v1/query", func(w http.ResponseWriter, r *http.Request) {
		query, err := engine.NewInstantQuery(r.Context(), storage, nil, r.URL.Query().Get("query"), time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		defer query.Close()
		vector, err := query.Exec(r.Context()).Vector()
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		type sample struct {
			Metric map[string]string `json:"metric"`
			Value  [2]any            `json:"value"`
		}
		result := []sample{}
		for _, one := range vector {
			value := [2]any{float64(one.T) / 1000, fmt.Sprint(one.F)}
			result = append(result, sample{one.Metric.Map(), value})
		}
		json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"result": result}})
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
