package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/load"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/mlflow/blobstore"
	"github.com/millrace/millrace/model/pyfunc"
	"github.com/millrace/millrace/model/remote"
)

// sourceConfig is what is needed to open a model by its reference. A command
// begins with [program.sourceDefaults] and calls parse on it, alone or nested.
type sourceConfig struct {
	Store   storeConfig   `envPrefix:"MILLRACE_"`
	Runtime load.Config   `envPrefix:"MILLRACE_"`
	Remote  remote.Config `envPrefix:"MILLRACE_"`
	MLflow  mlflow.Config
	Objects blobstore.Config
}

// storeConfig is where models are kept, and what a request of one may hold.
type storeConfig struct {
	CacheDir    string        `env:"MODEL_CACHE_DIR" help:"Folder that downloaded models are kept in; empty: millrace/models in the user's cache folder."`
	CacheQuota  int64         `env:"MODEL_CACHE_QUOTA" envDefault:"10737418240" help:"Bytes that downloaded models may take before those unused for longest are removed; 0: no bound."`
	StaleAfter  time.Duration `env:"MODEL_STALE_AFTER" envDefault:"10s" help:"How long the registry may be out of reach at a start before the version that the reference named last serves, from the cache; 0: never."`
	MaxRows     int           `env:"MAX_ROWS" envDefault:"4096" help:"Most rows in one request."`
	MaxElements int64         `env:"MAX_ELEMENTS" envDefault:"4194304" help:"Most numbers or strings in one request's tensors."`
}

// Validate reports every mistake, each with the variable that holds it.
func (c storeConfig) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	check(c.CacheQuota >= 0, "MODEL_CACHE_QUOTA", "0 or above", c.CacheQuota)
	check(c.StaleAfter >= 0, "MODEL_STALE_AFTER", "0s or above", c.StaleAfter)
	check(c.MaxRows > 0, "MAX_ROWS", "above 0", c.MaxRows)
	check(c.MaxElements > 0, "MAX_ELEMENTS", "above 0", c.MaxElements)
	return errors.Join(errs...)
}

// bundledRef is the reference of the model that the binary carries. A folder of
// that name is ./bundled.
const bundledRef = "bundled"

// modelSource opens what references name: a folder, models:/…, runs:/…, or
// "bundled". It is safe for concurrent use and holds nothing that needs closing.
//
//	src, err := p.modelSource(cfg, log)
//	ref, err := src.parse("models:/forecaster@champion")
//	got, err := src.client.Resolve(ctx, ref)         // name, version, identity, where it lies
//	dir, release, err := src.folder(ctx, got)        // on disk, verified; release when it is no longer used
//	snap, err := src.open(ctx, got, maxBatch)        // loaded and warm; Release closes it
type modelSource struct {
	cfg    sourceConfig
	log    *slog.Logger
	client *mlflow.Client
	home   func() (string, error) // below which models are kept
	cache  func() (*mlflow.Cache, error)
	remote *metrics.Remote // what calls of remote models count

	progress func(mlflow.Progress) // of a download; nil logs
	env      map[string]string     // of the process
	// Told of the processes of python_function models; nil: nobody is.
	processes pyfunc.Observer
}

// sourceDefaults is the configuration before the environment is read.
func (p *program) sourceDefaults() sourceConfig {
	var cfg sourceConfig
	if home := p.env["HOME"]; home != "" {
		cfg.MLflow.CredentialsFile = filepath.Join(home, ".mlflow", "credentials")
	}
	return cfg
}

// modelSource makes a source. It touches neither disk nor network; the files
// that TLS needs are read.
func (p *program) modelSource(cfg sourceConfig, log *slog.Logger) (*modelSource, error) {
	cfg.MLflow.Log, cfg.MLflow.Open = log, cfg.Objects.Open
	client, err := mlflow.New(cfg.MLflow)
	if err != nil {
		return nil, usageError(err)
	}
	s := &modelSource{cfg: cfg, log: log, client: client, env: p.env}
	s.home = func() (string, error) {
		if cfg.Store.CacheDir != "" {
			return cfg.Store.CacheDir, nil
		}
		return p.cacheDir("models")
	}
	s.cache = sync.OnceValues(func() (*mlflow.Cache, error) {
		dir, err := s.home()
		if err != nil {
			return nil, err
		}
		return mlflow.NewCache(dir, cfg.Store.CacheQuota)
	})
	return s, nil
}

// cacheDir is the user's cache folder for us, by the injected environment.
func (p *program) cacheDir(name string) (string, error) {
	home := p.env["HOME"]
	switch {
	case p.env["XDG_CACHE_HOME"] != "":
		return filepath.Join(p.env["XDG_CACHE_HOME"], "millrace", name), nil
	case home != "" && runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Caches", "millrace", name), nil
	case home != "":
		return filepath.Join(home, ".cache", "millrace", name), nil
	}
	return "", usageError(errors.New("no folder to keep models in: set MILLRACE_MODEL_CACHE_DIR or HOME"))
}

// parse reads a reference. The bundled model is written to disk for it.
func (s *modelSource) parse(text string) (mlflow.Ref, error) {
	if text != bundledRef {
		return mlflow.ParseRef(text)
	}
	home, err := s.home()
	if err != nil {
		return mlflow.Ref{}, err
	}
	dir, err := bundled.Materialize(filepath.Join(home, "bundled"))
	return mlflow.Ref{Kind: mlflow.KindFolder, Path: dir}, err
}

// folder brings a resolved model to the disk, verified. Until release it stays
// there.
func (s *modelSource) folder(ctx context.Context, r mlflow.Resolved) (dir string, release func(), err error) {
	if r.Ref.Kind == mlflow.KindFolder {
		return r.ArtifactURI, func() {}, nil
	}
	cache, err := s.cache()
	if err != nil {
		return "", nil, err
	}
	return s.client.Fetch(ctx, cache, r, s.progress)
}

// open loads a resolved model, warm for batches of up to maxBatch rows. The
// caller owns the snapshot; its folder stays on disk until the model is closed.
func (s *modelSource) open(ctx context.Context, r mlflow.Resolved, maxBatch int) (*model.Snapshot, error) {
	dir, release, err := s.folder(ctx, r)
	if err != nil {
		return nil, err
	}
	follow.Reached(ctx, follow.StepDownloaded)
	environments := ""
	if home, err := s.home(); err == nil { // else only what needs it says so
		environments = filepath.Join(home, "environments")
	}
	snap, err := load.Open(ctx, load.Options{
		Folder: dir, Name: r.Name, Version: r.Version, Identity: r.Identity, Source: r.Source,
		Limits: s.limits(), Flavor: s.cfg.Runtime.Flavor, Logger: s.log,
		Lanes: s.cfg.Runtime.Lanes, Library: s.cfg.Runtime.Library, MaxBatch: maxBatch,
		PyFunc: s.cfg.Runtime.PyFunc, Environ: s.env, EnvDir: environments, Processes: s.processes,
		Opened: func() { follow.Reached(ctx, follow.StepLoaded) },
	})
	if err != nil {
		release()
		return nil, err
	}
	snap.Model = &releasing{Model: snap.Model, release: release}
	return snap, nil
}

// limits are those of a request.
func (s *modelSource) limits() model.Limits {
	return model.Limits{MaxRows: s.cfg.Store.MaxRows, MaxElements: s.cfg.Store.MaxElements}
}

// releasing gives up a model's folder with the model.
type releasing struct {
	model.Model
	release func()
}

func (r *releasing) Close() error {
	defer r.release()
	return r.Model.Close()
}
