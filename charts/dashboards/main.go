// Command dashboards writes Grafana's dashboards of a pool, from one source: the
// panels of pages.go and models.go.
//
//	go run ./charts/dashboards charts/millrace/dashboards
//
// The chart puts them into ConfigMaps that Grafana's sidecar finds, and compose.yaml
// provisions the same files. A test holds the files equal to the source, every series
// to the code, and, against a real Prometheus that scrapes a real pool, that each
// query returns data.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for _, d := range all() {
		text, err := d.json()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, d.uid+".json"), text, 0o644); err != nil { //nolint:gosec // for everybody to read
			return err
		}
	}
	return nil
}

// all lists the dashboards.
func all() []dashboard {
	return []dashboard{overview(), worker(), models(), kafka(), scaling(), cost()}
}
