package test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The objects as files, for the test in autoscale, which gives them to a real cluster: the
// pool's, and the ScaledObject of each scenario.
func TestDocumentOfObjects(t *testing.T) {
	const dir = "autoscale/testdata"
	common, err := os.ReadFile(filepath.Join(dir, "common.yaml"))
	require.NoError(t, err)
	for _, name := range []string{"lag", "latency", "both", "asleep"} {
		t.Run(name, func(t *testing.T) {
			values, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
			require.NoError(t, err)
			r := rendered(t, string(common)+string(values))
			var pool, scaled []object
			for _, id := range slices.Sorted(maps.Keys(r.objects)) {
				switch o := r.objects[id]; {
				case o["kind"] == "ScaledObject":
					scaled = append(scaled, o)
				case o.at("metadata", "annotations", "helm.sh/hook") == nil: // nobody runs jobs there
					pool = append(pool, o)
				}
			}
			for file, objects := range map[string][]object{"pool": pool, name: scaled} {
				want, err := json.MarshalIndent(objects, "", " ")
				require.NoError(t, err)
				holdFile(t, filepath.Join(dir, file+".json"), string(want)+"\n")
			}
		})
	}
}
