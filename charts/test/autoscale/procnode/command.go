package procnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	core "k8s.io/api/core/v1"
)

// anyHost is an address that names a port alone. In a network of its own a pod would
// listen on its own address there.
var anyHost = regexp.MustCompile(`^:\d+$`)

// command is the container's process: the image is a program, a mounted volume is a
// folder that stands in the place of its mount's path.
func (p *pod) command(ctx context.Context) (*exec.Cmd, error) {
	c := p.container()
	program, ok := p.node.cfg.Images[c.Image]
	if !ok {
		return nil, fmt.Errorf("no program stands for the image %q", c.Image)
	}
	if len(p.object.Spec.Containers) > 1 || len(p.object.Spec.InitContainers) > 0 || len(c.EnvFrom) > 0 || len(c.Command) > 0 {
		return nil, errors.New("a pod here has one container, with args and plain variables")
	}
	if h := c.Lifecycle; h != nil && (h.PostStart != nil || h.PreStop != nil && h.PreStop.Sleep == nil) {
		return nil, errors.New("the only hook that runs here is a preStop's sleep")
	}
	mounts, err := p.mounts(c)
	if err != nil {
		return nil, err
	}
	here := strings.NewReplacer(mounts...)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program) //nolint:gosec // an image's; it is ended in order, not with ctx
	cmd.Dir, cmd.Env = p.dir, []string{"HOSTNAME=" + p.object.Name}
	for _, a := range c.Args {
		cmd.Args = append(cmd.Args, here.Replace(a))
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			return nil, fmt.Errorf("%s: a variable has a plain value here", e.Name)
		}
		value := here.Replace(e.Value)
		if anyHost.MatchString(value) {
			value = p.ip + value
		}
		cmd.Env = append(cmd.Env, e.Name+"="+value)
	}
	return cmd, nil
}

// mounts are pairs of a mount's path and the folder for it.
func (p *pod) mounts(c *core.Container) ([]string, error) {
	volumes := make(map[string]core.Volume)
	for _, v := range p.object.Spec.Volumes {
		volumes[v.Name] = v
	}
	if err := os.MkdirAll(p.dir, 0o750); err != nil {
		return nil, err
	}
	var pairs []string
	for _, m := range c.VolumeMounts {
		if volumes[m.Name].EmptyDir == nil {
			return nil, fmt.Errorf("volume %q: volumes are empty ones here", m.Name)
		}
		dir := filepath.Join(p.dir, "volumes", m.Name)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, err
		}
		pairs = append(pairs, m.MountPath, dir)
	}
	return pairs, nil
}
