// Command bench measures a worker against its two limits, in one run: a bare
// pass-through of the Kafka client, and inference without Kafka; forests natively
// against ONNX Runtime; and a gateway beside a bare round trip through Kafka and a plain
// HTTP server. It is what
// `make bench` runs; docs/benchmarks.md says how to read it.
//
// The broker, the pass-through, the inference and the worker are processes of
// their own, so that the processor time of each is known. They share the cores.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing to undo
	}
}

// run is the benchmark, or one of its child processes.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case roleBroker:
			return brokerMain(args[1:])
		case rolePass:
			return passMain(ctx, args[1:])
		case roleInfer:
			return inferMain(ctx, args[1:])
		case roleReply:
			return replyMain(ctx, args[1:])
		case roleWeb:
			return webMain(ctx, args[1:])
		}
	}
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	return benchmark(ctx, cfg)
}

// config of the benchmark.
type config struct {
	models  []string
	records int
	repeats int
	once    bool
	split   bool
	trees   bool
	gateway bool
	swaps   int
	rate    int
	gogc    string
	percent int // gogc, as this process is told it
	spread  float64
	binary  string
}

const usage = `Measures the worker against its two limits and prints a table of ratios.

  make bench                                  both models, swaps and the gateway, 5 repetitions, 6 minutes
  make bench ARGS="--model mlp --repeats 9"   one model, a narrower spread
  make bench ARGS="--records 20000 --swaps 0" a quick look
  make bench ARGS="--model none --swaps 0"    forests and the gateway alone, two minutes
  make bench ARGS="--model none --trees=false --gateway=false"   changes of version under load alone

Flags:
`

func parse(args []string) (config, error) {
	var cfg config
	var models string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&models, "model", "mlp,forecaster", "`names` of the models, comma separated: mlp, forecaster; none for the forests and the gateway alone")
	flags.IntVar(&cfg.records, "records", 0, "records a measurement; 0 is as many as take each model about 2 s")
	flags.IntVar(&cfg.repeats, "repeats", 5, "repetitions, each of pass-through, inference and worker in turn")
	flags.BoolVar(&cfg.once, "exactly-once", true, "measure the worker exactly once too")
	flags.BoolVar(&cfg.split, "split", false, "measure the worker with versions beside the model too")
	flags.BoolVar(&cfg.trees, "trees", true, "measure forests natively and in ONNX Runtime too")
	flags.BoolVar(&cfg.gateway, "gateway", true, "measure a gateway beside a bare round trip through Kafka and a plain HTTP server too")
	flags.IntVar(&cfg.swaps, "swaps", 6, "changes of version under load, each beside a window without one; 0 leaves them out")
	flags.IntVar(&cfg.rate, "rate", 2000, "requests a second while versions change")
	flags.StringVar(&cfg.gogc, "gogc", "400", "GOGC of all measured processes; 400 is the worker's own setting")
	flags.Float64Var(&cfg.spread, "think-spread", 0.5, "share by which the pauses of the gateway's users differ, at random; with 0 they fall into step")
	flags.StringVar(&cfg.binary, "millrace", "", "`path` of the binary to measure; empty builds it")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if models != "none" {
		cfg.models = strings.Split(models, ",")
	}
	var errs []error
	for _, name := range cfg.models {
		if _, err := modelNamed(name); err != nil {
			errs = append(errs, err)
		}
	}
	if percent, err := strconv.Atoi(cfg.gogc); err == nil {
		cfg.percent = percent
	} else if cfg.percent = -1; cfg.gogc != "off" {
		errs = append(errs, fmt.Errorf("--gogc: %q is neither a number nor off", cfg.gogc))
	}
	if cfg.records != 0 && cfg.records < 1000 {
		errs = append(errs, errors.New("--records: must be 1000 or above, or 0"))
	}
	if len(cfg.models) == 0 && !cfg.trees && !cfg.gateway && cfg.swaps == 0 {
		errs = append(errs, errors.New("--model none, --trees=false, --gateway=false and --swaps 0: nothing to measure"))
	}
	if cfg.repeats < 1 {
		errs = append(errs, errors.New("--repeats: must be 1 or above"))
	}
	if cfg.swaps < 0 || cfg.rate < 1 {
		errs = append(errs, errors.New("--swaps: must be 0 or above; --rate: must be 1 or above"))
	}
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unknown argument %q; --help shows the flags", flags.Arg(0)))
	}
	return cfg, errors.Join(errs...)
}

// say is a line of progress.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
