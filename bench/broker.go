package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

const roleBroker = "child-broker"

// brokerMain is a broker that keeps its log on disk, as `millrace up` does. It
// ends when its standard input does, and so never outlives the benchmark.
func brokerMain(args []string) error {
	flags := flag.NewFlagSet(roleBroker, flag.ContinueOnError)
	dir := flags.String("dir", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(*dir))
	if err != nil {
		return err
	}
	defer cluster.Close()
	fmt.Println(cluster.ListenAddrs()[0])
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// broker is the child, and what ends it when it is closed.
type broker struct {
	*process
	addr  string
	alive *os.File
}

func startBroker(ctx context.Context, self, dir string, env []string) (_ *broker, err error) {
	stdin, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), alive.Close())
	}
	defer func() { _ = out.Close() }()
	p, err := launch(ctx, dir, "broker", []string{self, roleBroker, "--dir", filepath.Join(dir, "broker")}, env,
		func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout = stdin, stdout })
	err = errors.Join(err, stdin.Close(), stdout.Close()) // the child has its own
	if err != nil {
		return nil, errors.Join(err, alive.Close())
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = alive.Close()
		<-p.done
		return nil, p.fault()
	}
	return &broker{p, strings.TrimSpace(addr), alive}, nil
}

func (b *broker) end() error {
	_ = b.alive.Close()
	<-b.done
	return b.err
}
