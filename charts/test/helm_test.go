package test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/engine"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// object is one of Kubernetes' objects.
type object map[string]any

// id is the kind and the name, as in Deployment/millrace-worker.
func (o object) id() string {
	return fmt.Sprintf("%v/%v", o["kind"], o.at("metadata", "name"))
}

// at is what is found along a path of keys, and of indices of lists; nil when the
// path ends before.
func (o object) at(path ...any) any {
	var v any = map[string]any(o)
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

// release is a rendered chart.
type release struct {
	objects map[string]object // by their id
	notes   string
}

// of lists the objects of a kind, by their names.
func (r release) of(kind string) []object {
	var list []object
	for _, id := range slices.Sorted(maps.Keys(r.objects)) {
		if r.objects[id]["kind"] == kind {
			list = append(list, r.objects[id])
		}
	}
	return list
}

// render does what `helm install millrace DIR -n ml -f VALUES` does, as far as the
// cluster: the schema is asked, the templates are run. values is YAML.
func render(dir, values string) (release, error) {
	given := make(map[string]any)
	if err := yaml.UnmarshalStrict([]byte(values), &given); err != nil {
		return release{}, fmt.Errorf("values: %w", err)
	}
	chart, err := loader.Load(dir)
	if err != nil {
		return release{}, err
	}
	all, err := util.ToRenderValues(chart, given, common.ReleaseOptions{Name: "millrace", Namespace: "ml", IsInstall: true, Revision: 1}, common.DefaultCapabilities)
	if err != nil {
		return release{}, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return release{}, err
	}
	out := release{objects: make(map[string]object)}
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			out.notes = text
			continue
		}
		if err := out.read(text); err != nil {
			return release{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out, nil
}

// read takes the objects of one rendered file.
func (r release) read(text string) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var o object
		if err := yaml.UnmarshalStrict(doc, &o); err != nil {
			return fmt.Errorf("%w in\n%s", err, bytes.TrimSpace(doc))
		}
		if len(o) == 0 {
			continue
		}
		if _, twice := r.objects[o.id()]; twice {
			return fmt.Errorf("%s: it is there twice", o.id())
		}
		r.objects[o.id()] = o
	}
}
