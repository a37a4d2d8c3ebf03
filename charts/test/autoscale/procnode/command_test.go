package procnode

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podOf is a pod of one container, changed by edit.
func podOf(t *testing.T, edit func(*core.PodSpec)) *pod {
	t.Helper()
	o := &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: "ml", Name: "worker-1"}, Spec: core.PodSpec{
		Containers: []core.Container{{
			Name: "worker", Image: "millrace:here", Args: []string{"worker", "--dir=/var/cache/x"},
			Env: []core.EnvVar{
				{Name: "ADDR", Value: ":8001"},
				{Name: "BROKERS", Value: "kafka:9092"},
				{Name: "CACHE", Value: "/var/cache/models"},
			},
			VolumeMounts: []core.VolumeMount{{Name: "cache", MountPath: "/var/cache"}},
		}},
		Volumes: []core.Volume{{Name: "cache", VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{}}}},
	}}
	if edit != nil {
		edit(&o.Spec)
	}
	n := &Node{cfg: Config{Images: map[string]string{"millrace:here": "/bin/millrace"}, Dir: t.TempDir()}}
	return newPod(n, o, "127.1.0.3")
}

func TestCommand(t *testing.T) {
	p := podOf(t, nil)
	cmd, err := p.command(t.Context())
	require.NoError(t, err)
	cache := filepath.Join(p.node.cfg.Dir, "ml/worker-1/volumes/cache")
	require.DirExists(t, cache)
	require.Equal(t, []string{"/bin/millrace", "worker", "--dir=" + cache + "/x"}, cmd.Args)
	require.Equal(t, []string{"HOSTNAME=worker-1", "ADDR=127.1.0.3:8001", "BROKERS=kafka:9092", "CACHE=" + cache + "/models"}, cmd.Env)
}

// What is not there is no silent difference to a cluster.
func TestCommandRefuses(t *testing.T) {
	for says, edit := range map[string]func(*core.PodSpec){
		`no program stands for the image "other"`: func(s *core.PodSpec) { s.Containers[0].Image = "other" },
		"one container":     func(s *core.PodSpec) { s.Containers = append(s.Containers, core.Container{Name: "beside"}) },
		"has one container": func(s *core.PodSpec) { s.InitContainers = []core.Container{{Name: "before"}} },
		"plain variables":   func(s *core.PodSpec) { s.Containers[0].EnvFrom = []core.EnvFromSource{{}} },
		"ADDR: a variable":  func(s *core.PodSpec) { s.Containers[0].Env[0].ValueFrom = &core.EnvVarSource{} },
		`volume "cache"`:    func(s *core.PodSpec) { s.Volumes = nil },
		"only hook that runs": func(s *core.PodSpec) {
			s.Containers[0].Lifecycle = &core.Lifecycle{PostStart: &core.LifecycleHandler{}}
		},
		"hook that runs here":   func(s *core.PodSpec) { s.Containers[0].Lifecycle = &core.Lifecycle{PreStop: &core.LifecycleHandler{}} },
		"with args and plain v": func(s *core.PodSpec) { s.Containers[0].Command = []string{"sh"} },
	} {
		t.Run(says, func(t *testing.T) {
			_, err := podOf(t, edit).command(t.Context())
			require.ErrorContains(t, err, says)
		})
	}
}
