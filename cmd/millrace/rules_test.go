package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// rule is one of Prometheus' rules.
type rule struct {
	Alert       string
	Record      string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

// rules are those of the chart, which compose.yaml mounts as well.
func rules(t *testing.T) []rule {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "charts", "millrace", "rules", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []rule
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var content struct {
			Groups []struct {
				Name  string
				Rules []rule
			}
		}
		require.NoError(t, yaml.Unmarshal(text, &content), file)
		for _, g := range content.Groups {
			all = append(all, g.Rules...)
		}
	}
	return all
}

// foreign are the series of others that rules stand on.
func foreign() []string {
	return []string{"up", "keda_scaled_object_errors_total", "keda_scaler_detail_errors_total", "keda_build_info"}
}

// A rule that queries a series which nobody exports never fires. That happened to the
// predecessor.
func TestRulesQueryWhatIsExported(t *testing.T) {
	known := slices.Concat(declared(), foreign())
	for _, r := range rules(t) {
		if r.Record != "" {
			known = append(known, r.Record)
		}
	}
	word := regexp.MustCompile(`\b(inference_[a-z_]+|millrace[a-z_]*(:[a-z0-9_:]+)?|keda_[a-z_]+)\b`)
	seen := 0
	for _, r := range rules(t) {
		expr := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(r.Expr, "")
		for _, name := range word.FindAllString(expr, -1) {
			seen++
			plain := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			require.True(t, slices.Contains(known, name) || slices.Contains(known, plain), "%s%s: nobody exports %s", r.Alert, r.Record, name)
		}
	}
	require.Greater(t, seen, 30)
}

func TestEachAlertSaysWhatToDo(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "integration", "testdata", "rules", "alerts.yml"))
	require.NoError(t, err)
	index, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbooks", "README.md"))
	require.NoError(t, err)
	alerts := 0
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		alerts++
		t.Run(r.Alert, func(t *testing.T) {
			require.NotEmpty(t, r.Labels["severity"])
			require.NotEmpty(t, r.Annotations["summary"])
			require.NotEmpty(t, r.Annotations["description"])
			const base = "https://github.com/millrace/millrace/blob/main/docs/runbooks/"
			require.Equal(t, base+r.Alert+".md", r.Annotations["runbook_url"])
			page, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbooks", r.Alert+".md"))
			require.NoError(t, err)
			for _, part := range []string{"## Symptom", "## What to look at", "## Causes", "## Mitigation", "## Scaling by hand"} {
				require.Contains(t, string(page), part)
			}
			require.Contains(t, string(index), fmt.Sprintf("[%s](%s.md)", r.Alert, r.Alert))
			for _, word := range []string{"fires", "keeps quiet"} {
				require.Contains(t, string(text), "- name: "+r.Alert+" "+word+"\n", "promtool has to test it")
			}
		})
	}
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "runbooks", "*.md"))
	require.NoError(t, err)
	require.Len(t, pages, alerts+1, "a page without an alert")
	require.Equal(t, 2*alerts, strings.Count(string(text), "- name: "))
}

// An increase is not seen of a series that begins with it: what alerts wait for the
// first of is there at 0 before it happens.
func TestAlertsSeeTheFirstOfItsKind(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	worker := start(t, home(t, "MILLRACE_MODEL="+onnxtest.Folder{Model: onnxtest.Picky(), Inputs: oneFloat}.Write(t)), "worker", "--brokers", c.ListenAddrs()[0])
	w := worker.probes(t)
	ready(t, w)
	text, asked := get(t, w+"/metrics").body, 0
	for _, r := range rules(t) {
		for _, m := range regexp.MustCompile(`increase\((millrace_[a-z_]+)(?:\{([^}]*)\})?\[`).FindAllStringSubmatch(r.Expr, -1) {
			asked++
			require.Regexp(t, `(?m)^`+m[1]+`\{[^}]*`+regexp.QuoteMeta(m[2])+`[^}]*\} 0$`, text, r.Alert)
		}
	}
	require.Equal(t, 3, asked, "dead letters, loads, rollbacks")
	require.Zero(t, worker.stop(t), worker.err.String())
}
