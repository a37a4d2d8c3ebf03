package metrics

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const docs = "../docs/metrics.md"

// catalogue is a Registerer that keeps what is registered.
type catalogue struct {
	prometheus.Registerer
	rows []string
}

// series of a Desc, which tells its parts by its text alone.
var series = regexp.MustCompile(`^Desc\{fqName: "(.*)", help: "(.*)", constLabels: \{\}, variableLabels: \{(.*)\}\}$`)

func (c *catalogue) MustRegister(all ...prometheus.Collector) {
	for _, one := range all {
		descs := make(chan *prometheus.Desc, 1)
		one.Describe(descs)
		m := series.FindStringSubmatch((<-descs).String())
		labels := ""
		if m[3] != "" {
			labels = " `" + strings.ReplaceAll(m[3], ",", "` `") + "`"
		}
		c.rows = append(c.rows, fmt.Sprintf("| `%s` | %s |%s | %s |", m[1], kind(one), labels, m[2]))
	}
}

func kind(c prometheus.Collector) string {
	name := strings.ToLower(reflect.TypeOf(c).String())
	for _, k := range []string{"histogram", "counter", "gauge"} {
		if strings.Contains(name, k) {
			return k
		}
	}
	return name
}

func page() string {
	var b strings.Builder
	b.WriteString(`# Metrics

Served at ` + "`/metrics`" + ` and ` + "`/prometheus`" + `, as text, OpenMetrics or protobuf; histograms are classic and, over protobuf,
native too. Beside these are Go's and the process's own, and ` + "`go_build_info`" + `. Written from the code by
` + "`go test ./metrics -update`" + `, and held equal to it by the same test.
`)
	for _, part := range []struct {
		title string
		of    func(prometheus.Registerer)
	}{
		{"Worker: the intake", func(r prometheus.Registerer) { NewConsumer(r) }},
		{"Worker: the intake, exactly once", func(r prometheus.Registerer) { NewTransaction(r) }},
		{"Worker: the intake of a queue", func(r prometheus.Registerer) { NewQueue(r) }},
		{"Worker: the pool", func(r prometheus.Registerer) { NewWorker(r) }},
		{"Worker: the models", func(r prometheus.Registerer) { NewModels(r) }},
		{"Worker: remote models", func(r prometheus.Registerer) { NewRemote(r) }},
		{"Worker: versions beside a model's own", func(r prometheus.Registerer) { NewSplit(r) }},
		{"Worker: the shadow", func(r prometheus.Registerer) { NewShadow(r) }},
		{"Worker: what the pool knows of the registry", func(r prometheus.Registerer) { NewAnnounce(r) }},
		{"Worker: the publishing", func(r prometheus.Registerer) { NewProducer(r) }},
		{"Gateway", func(r prometheus.Registerer) { NewGateway(r); NewPredictions(r) }},
		{"Both, when spans are exported", func(r prometheus.Registerer) { NewTracing(r) }},
	} {
		c := &catalogue{}
		part.of(c)
		b.WriteString("\n## " + part.title + "\n\n| series | type | labels | meaning |\n|---|---|---|---|\n")
		b.WriteString(strings.Join(c.rows, "\n") + "\n")
	}
	return b.String()
}

// TestDocs holds the page equal to what the code exports.
func TestDocs(t *testing.T) {
	want := page()
	if *update {
		require.NoError(t, os.WriteFile(docs, []byte(want), 0o600))
	}
	got, err := os.ReadFile(docs)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run: go test ./metrics -update")
}
