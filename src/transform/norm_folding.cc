#include "transform/norm_folding.h"

#include <cmath>
#include <string>

#include "model/sites.h"

namespace coldpress {
namespace {

// What channel's gain leaves the norm.
float folded(float gain) { return std::fabs(gain) > 1e-8F ? gain : 1.0F; }

// The source's effective gains of the norm.
Result<MatrixF> load_gains(const Model& model, const std::string& name) {
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF gains, model.load(name));
  const auto offset = static_cast<float>(model.config().norm_weight_offset);
  for (int64_t j = 0; j < gains.size(); ++j) gains.data()[j] += offset;
  return gains;
}

void fold(const Model& model, std::string_view norm, const std::vector<std::string_view>& readers,
          int block, WeightEdits& edits) {
  const auto name = model.role_tensor(norm, block);
  if (!name || !edits.fold_first(norm, block)) return;
  const auto scaled = [&model, gain = *name](bool multiply) -> WeightEdits::Edit {
    return [&model, gain, multiply](View2<float> values) -> Status {
      COLDPRESS_ASSIGN_OR_RETURN(const MatrixF gains, load_gains(model, gain));
      for (int64_t i = 0; i < values.rows; ++i) {
        for (int64_t j = 0; j < values.cols; ++j) {
          const float by = folded(gains(0, j));
          values(i, j) = multiply ? values(i, j) * by : values(i, j) / by;
        }
      }
      return {};
    };
  };
  for (const std::string_view reader : readers) edits.add(reader, block, scaled(true));
  edits.add(std::string(norm) + "_bias", block, scaled(false));
  edits.add(norm, block, scaled(false));  // by itself: 1 exactly
}

}  // namespace

void fold_norms(const Model& model, bool with_head, WeightEdits& edits) {
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const ScaleSite& site : scale_sites(model.architecture())) {
      fold(model, site.norm, site.readers, block, edits);
    }
  }
  if (model.config().tied_embeddings && !with_head) return;
  edits.untie();
  fold(model, "output_norm", {"output"}, 0, edits);
}

}  // namespace coldpress
