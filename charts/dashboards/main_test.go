package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const folder = "../millrace/dashboards"

func TestTheFilesAreWhatTheSourceSays(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, write(dir))
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	require.NoError(t, err)
	require.Len(t, files, len(all()))
	for _, file := range files {
		have, err := os.ReadFile(file)
		require.NoError(t, err)
		want, err := os.ReadFile(filepath.Join(dir, filepath.Base(file)))
		require.NoError(t, err)
		require.Equal(t, string(want), string(have), "run `make docs`")
		require.True(t, json.Valid(have))
	}
}

// lines are all queries, with the panel that each is in.
func lines() map[string][]line {
	list := make(map[string][]line)
	for _, d := range all() {
		for _, r := range d.rows {
			for _, p := range r.panels {
				list[d.title+": "+p.title] = append(list[d.title+": "+p.title], p.lines...)
			}
		}
	}
	return list
}

// A panel without data is what the predecessor showed.
func TestPanelsQueryWhatIsExported(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md") // written from the code
	require.NoError(t, err)
	var known []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		known = append(known, m[1])
	}
	rules, err := filepath.Glob("../millrace/rules/*.yaml")
	require.NoError(t, err)
	for _, file := range rules {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`record: (\S+)`).FindAllStringSubmatch(string(text), -1) {
			known = append(known, m[1])
		}
	}
	word := regexp.MustCompile(`\b(inference_[a-z_]+|millrace[a-z_]*(:[a-z0-9_:]+)?)\b`)
	quoted := regexp.MustCompile(`"[^"]*"`)
	for panel, list := range lines() {
		require.NotEmpty(t, list, panel)
		for _, l := range list {
			for _, name := range word.FindAllString(quoted.ReplaceAllString(l.expr, ""), -1) {
				require.True(t, slices.Contains(known, strings.TrimSuffix(name, "_bucket")) || slices.Contains(known, name), "%s: nobody exports %s", panel, name)
			}
			if strings.Contains(l.expr, "kube_") {
				require.Equal(t, "kube-state-metrics", l.needs, panel)
			}
			if strings.Contains(l.expr, "keda_") {
				require.Equal(t, "KEDA", l.needs, panel)
			}
		}
	}
}

func TestPanelsLieBesideEachOther(t *testing.T) {
	for _, d := range all() {
		text, err := d.json()
		require.NoError(t, err)
		var page struct {
			Panels []struct {
				ID      int
				GridPos struct{ X, Y, W, H int }
			}
		}
		require.NoError(t, json.Unmarshal(text, &page))
		taken := map[[2]int]int{}
		for _, p := range page.Panels {
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, pageWidth)
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					require.Zero(t, taken[at], "panels %d and %d of %s overlap", taken[at], p.ID, d.uid)
					taken[at] = p.ID
				}
			}
		}
	}
}
