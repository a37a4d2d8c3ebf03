package trees_test

import (
	"testing"

	"github.com/millrace/millrace/model/trees/treestest"
)

// What LightGBM and XGBoost themselves predicted: see testdata/README.md.
func TestAsTheLibraries(t *testing.T) {
	treestest.Run(t, "testdata/lightgbm-4.7-xgboost-3.2", 80)
	treestest.Run(t, "testdata/lightgbm-3.3-xgboost-2.1", 40)
}
