//go:build integration

package integration

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestPages holds what a person sees in a real browser: the pool, live, and a form that
// sends a prediction and shows its answer. Pictures of both are left in the test's folder
// of logs.
func TestPages(t *testing.T) {
	b := newBroker(t)
	b.topics(t)
	startWorker(t, "worker", b, "MILLRACE_MODEL=bundled")
	gateway := startGateway(t, b, "MILLRACE_GROUP_LAG_INTERVAL=1s")
	ctx, wrong := browser(t)

	var state, status, answer, inputs, takes, version string
	picture := func(name string) chromedp.Action {
		return chromedp.ActionFunc(func(ctx context.Context) error {
			var png []byte
			if err := chromedp.FullScreenshot(&png, 100).Do(ctx); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(logDir(t), name+".png"), png, 0o600)
		})
	}
	require.NoError(t, chromedp.Run(ctx,
		chromedp.Navigate(gateway+"/docs"),
		chromedp.WaitReady(`#model option`, chromedp.ByQuery),
		chromedp.Value(`#body`, &inputs, chromedp.ByQuery),
		chromedp.Text(`#inputs`, &takes, chromedp.ByQuery),
		chromedp.Click(`#send`, chromedp.ByQuery),
		chromedp.WaitVisible(`#answer`, chromedp.ByQuery),
		chromedp.Text(`#status`, &status, chromedp.ByQuery),
		chromedp.Text(`#text`, &answer, chromedp.ByQuery),
		picture("docs"),
	))
	require.Contains(t, inputs, `"window"`)
	require.Contains(t, takes, "float32")
	require.Equal(t, "200", status)
	require.Contains(t, answer, `"predictions"`)

	// A request that is wrong shows why.
	require.NoError(t, chromedp.Run(ctx,
		chromedp.SetValue(`#body`, `{"inputs": {"window": [[1, 2]]}}`, chromedp.ByQuery),
		chromedp.Click(`#send`, chromedp.ByQuery),
		chromedp.WaitVisible(`#status.bad`, chromedp.ByQuery),
		chromedp.Text(`#status`, &status, chromedp.ByQuery),
		chromedp.Text(`#text`, &answer, chromedp.ByQuery),
	))
	require.Equal(t, "400", status)
	require.Contains(t, answer, "INVALID_INPUT")

	var failures, tiles string
	require.NoError(t, chromedp.Run(ctx,
		chromedp.Navigate(gateway+"/"),
		chromedp.WaitVisible(`#state.good`, chromedp.ByQuery),
		chromedp.Poll(`document.querySelector("#failures td:nth-child(3)")?.textContent === "INVALID_INPUT"`, nil),
		chromedp.Poll(`document.querySelectorAll("#latency path").length === 3`, nil),
		chromedp.Text(`#state`, &state, chromedp.ByQuery),
		chromedp.Text(`#tiles`, &tiles, chromedp.ByQuery),
		chromedp.Text(`#models`, &version, chromedp.ByQuery),
		chromedp.Text(`#failures`, &failures, chromedp.ByQuery),
		picture("pool"),
	))
	require.Equal(t, "ready", state)
	require.Contains(t, version, "forecaster")
	require.Contains(t, failures, "400")
	require.Contains(t, tiles, "records waiting")
	require.Empty(t, *wrong, "the console of the browser")
}

// browser starts one that is given up with the test. wrong gathers what its console says
// is wrong: what the policy of the pages forbids is among it.
func browser(t *testing.T) (ctx context.Context, wrong *[]string) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(fetched(t, "fetch-chromium.sh")), chromedp.NoSandbox, chromedp.WindowSize(1100, 1400))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(stop)
	wrong = new([]string)
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			*wrong = append(*wrong, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				*wrong = append(*wrong, string(e.Args[0].Value))
			}
		}
	})
	return ctx, wrong
}
