//go:build autoscale

package autoscale

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// apply puts the objects of a file into the cluster, as `kubectl apply --server-side`
// does: a list as JSON, or YAML documents. edit may be nil.
func (l *lab) apply(t *testing.T, file string, edit *strings.Replacer) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	if edit != nil {
		text = []byte(edit.Replace(string(text)))
	}
	var objects []map[string]any
	if filepath.Ext(file) == ".json" {
		require.NoError(t, yaml.Unmarshal(text, &objects))
	}
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); filepath.Ext(file) != ".json"; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		var o map[string]any
		require.NoError(t, yaml.Unmarshal(document, &o))
		objects = append(objects, o)
	}
	require.NotEmpty(t, objects, file)
	for _, o := range objects {
		object := &unstructured.Unstructured{Object: o}
		var last error
		defer func() { // of the one that it ended at
			if t.Failed() && last != nil {
				t.Logf("%s %s: %v", object.GetKind(), object.GetName(), last)
			}
		}()
		await(t, object.GetKind()+" "+object.GetName()+" is taken", func(ctx context.Context) bool { // a new kind takes a moment
			var of dynamic.ResourceInterface
			if of, last = l.resource(object.GroupVersionKind(), object.GetNamespace()); last == nil {
				_, last = of.Apply(ctx, object.GetName(), object, v1.ApplyOptions{FieldManager: "autoscale", Force: true})
			}
			return last == nil
		})
	}
}

// resource is a kind's part of the API in a namespace, the pool's when it is empty.
func (l *lab) resource(kind schema.GroupVersionKind, in string) (dynamic.ResourceInterface, error) {
	m, err := l.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		l.mapper.Reset()
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return l.client.Resource(m.Resource), nil
	}
	return l.client.Resource(m.Resource).Namespace(cmp.Or(in, namespace)), nil
}

// get is an object, nil when there is none.
func (l *lab) get(ctx context.Context, version, kind, name string) *unstructured.Unstructured {
	of, err := l.resource(schema.FromAPIVersionAndKind(version, kind), "")
	if err != nil {
		return nil
	}
	o, err := of.Get(ctx, name, v1.GetOptions{})
	if err != nil {
		return nil
	}
	return o
}

// condition is the status of one of an object's conditions, "" for none.
func (l *lab) condition(ctx context.Context, version, kind, name, of string) string {
	o := l.get(ctx, version, kind, name)
	if o == nil {
		return ""
	}
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == of {
			return fmt.Sprint(m["status"])
		}
	}
	return ""
}

// address is that of the gateway's pod, "" while there is none that is ready.
func (l *lab) address(ctx context.Context) string {
	of, err := l.resource(schema.FromAPIVersionAndKind("v1", "Pod"), "")
	if err != nil {
		return ""
	}
	pods, err := of.List(ctx, v1.ListOptions{LabelSelector: "app.kubernetes.io/component=gateway"})
	if err != nil || len(pods.Items) != 1 {
		return ""
	}
	ip, _, _ := unstructured.NestedString(pods.Items[0].Object, "status", "podIP")
	if ip == "" {
		return ""
	}
	return ip + ":8000"
}
