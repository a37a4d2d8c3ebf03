package pyfunc

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// scorer is what runs in a process: Python's standard library and mlflow alone.
//
//go:embed scorer/millrace_scorer/*.py
var scorer embed.FS

// bootstrap runs the scorer of the folder that it is given, which is not where
// the model's own imports look.
const bootstrap = "import sys; sys.path.insert(0, sys.argv[1]); from millrace_scorer import process; sys.path.remove(sys.argv[1]); process.main()"

// writeScorer puts the scorer's package into dir.
func writeScorer(dir string) error {
	files, err := fs.Sub(scorer, "scorer")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("write the scorer: %w", err)
	}
	return os.Mkdir(filepath.Join(dir, "work"), 0o700)
}

// scorerCommand runs the scorer of dir with an interpreter.
func (o *Options) scorerCommand(python, dir string) command {
	environ := append(childEnviron(o.Environ, o.PassEnv), "PYTHONFAULTHANDLER=1")
	return func() *exec.Cmd {
		return &exec.Cmd{
			Path: python, Args: []string{python, "-u", "-c", bootstrap, dir},
			Env: environ, Dir: filepath.Join(dir, "work"),
		}
	}
}
