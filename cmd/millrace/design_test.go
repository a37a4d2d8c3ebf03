package main

import (
	"go/build"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDesignNamesThePackages holds the table of docs/design.md equal to what the
// packages import of each other.
func TestDesignNamesThePackages(t *testing.T) {
	const module = "github.com/millrace/millrace/"
	text, err := os.ReadFile("../../docs/design.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "| folder | what it does | imports |\n|---|---|---|\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	name := regexp.MustCompile("`([^`]+)`")
	told := make(map[string][]string)
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(row, "|")
		require.Len(t, cells, 5, row)
		folder := name.FindStringSubmatch(cells[1])
		require.NotNil(t, folder, row)
		require.NotContains(t, told, folder[1])
		told[folder[1]] = nil
		for _, one := range name.FindAllStringSubmatch(cells[3], -1) {
			if _, err := os.Stat(filepath.Join("../..", one[1])); err == nil {
				told[folder[1]] = append(told[folder[1]], one[1])
			}
		}
		slices.Sort(told[folder[1]])
	}
	elsewhere := []string{"cmd/millrace", "bench", "bundled", "charts/millrace", "charts/test", "integration"}
	for folder, imports := range told {
		if slices.Contains(elsewhere, folder) {
			continue
		}
		p, err := build.ImportDir(filepath.Join("../..", folder), 0)
		require.NoError(t, err, folder)
		var has []string
		for _, path := range p.Imports {
			if short, ours := strings.CutPrefix(path, module); ours && !strings.HasPrefix(short, folder+"/") {
				has = append(has, short)
			}
		}
		slices.Sort(has)
		imports = slices.DeleteFunc(imports, func(one string) bool { return strings.HasPrefix(one, folder+"/") })
		require.Equal(t, has, append([]string(nil), imports...), folder)
	}
	for _, folder := range []string{"consumer", "gateway", "model/follow", "worker"} {
		require.Contains(t, told, folder)
	}
}
