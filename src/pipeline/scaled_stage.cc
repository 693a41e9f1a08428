#include "pipeline/scaled_stage.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "export/layout.h"
#include "io/byte_stream.h"
#include "model/sites.h"
#include "transform/table.h"

namespace coldpress {
namespace {

// The transforms of the recipe that scale taps.
std::vector<std::pair<const TransformKind*, const TransformStep*>> scaling_steps(const Plan& plan) {
  std::vector<std::pair<const TransformKind*, const TransformStep*>> steps;
  for (const TransformStep& step : plan.recipe.transform.steps) {
    const auto kind = find_transform(step.name);
    if (kind.ok() && (*kind)->scales != nullptr) steps.emplace_back(*kind, &step);
  }
  return steps;
}

// The norm that makes the tap, with its readers; nothing if it could not take scales.
std::optional<ScaleSite> site_of(const Model& model, const Tap& tap, const BlockWeights& weights) {
  const std::string_view norm = tap.name == "attn_in"  ? "attn_norm"
                                : tap.name == "ffn_in" ? "ffn_norm"
                                                       : "";
  for (ScaleSite& site : scale_sites(model.architecture())) {
    if (site.norm == norm && weights.find(std::string(norm)) != nullptr) return std::move(site);
  }
  return std::nullopt;
}

// Those that rank `home` found, in every rank.
Status share_scales(int home, Comm& comm, std::vector<float>* scales) {
  const auto as_bytes = std::as_bytes(std::span(*scales));
  std::vector<std::byte> bytes(as_bytes.begin(), as_bytes.end());
  COLDPRESS_RETURN_IF_ERROR(comm.broadcast(home, &bytes));
  *scales = ByteReader(bytes).take_values<float>(bytes.size() / sizeof(float));
  return {};
}

// The scales of one tap being found and put into effect.
class Scaling {
 public:
  // `open`: empty where all that is asked of it is apply().
  Scaling(Run& run, const Model& model, int block, ScaleSite site, int64_t width, OpenTap open,
          BlockWeights& weights, std::optional<BlockWeights>& source)
      : run_(run),
        model_(model),
        block_(block),
        site_(std::move(site)),
        open_(std::move(open)),
        h_(open_.gram.normalised()),
        weights_(weights),
        source_(source),
        total_(static_cast<std::size_t>(width), 1.0F) {}

  ScaleProblem problem() const {
    ScaleProblem problem{h_.view(),
                         open_.max_abs,
                         open_.mean_abs,
                         open_.sample.view(),
                         model_.config().online.activations,
                         {}};
    for (const LinearRef& linear : linears()) {
      const PlannedTensor& planned = *run_.planned.at(linear.tensor_name);
      std::optional<GridFit> fit;
      if (planned.action == TensorAction::kQuantise) {
        fit = GridFit{*find_grid(planned.grid.kind), planned.grid};
      }
      problem.readers.push_back({weights_.linear(linear), fit});
    }
    return problem;
  }

  // Divides the norm by the scales, as nearly as its type allows, and multiplies the readers by
  // what that came to.
  void apply(const std::vector<float>& wanted) {
    const std::vector<float> scales = divide_norm(wanted);
    for (const std::string_view reader : site_.readers) {
      const std::string role(reader);
      if (weights_.find(role) == nullptr) continue;
      multiply_columns(scales, weights_.linear(role));
      if (source_) multiply_columns(scales, source_->linear(role));
      if (find_role(model_.architecture(), reader)->is_kept) {
        hand_on(role, run_.plan.recipe.dense_type, 0.0F);
      }
    }
    for (std::size_t j = 0; j < scales.size(); ++j) {
      total_[j] *= scales[j];
      if (open_.max_abs.empty()) continue;
      open_.max_abs[j] /= scales[j];
      open_.mean_abs[j] /= scales[j];
    }
    for (int64_t i = 0; i < h_.rows(); ++i) {
      for (int64_t j = 0; j < h_.cols(); ++j) {
        h_(i, j) /= scales[static_cast<std::size_t>(i)] * scales[static_cast<std::size_t>(j)];
      }
    }
    for (int64_t t = 0; t < open_.sample.rows(); ++t) {
      for (int64_t j = 0; j < open_.sample.cols(); ++j) {
        open_.sample(t, j) /= scales[static_cast<std::size_t>(j)];
      }
    }
  }

  std::span<const float> total() const { return total_; }

 private:
  std::vector<LinearRef> linears() const {
    std::vector<LinearRef> out;
    for (const Tap& tap : model_.taps(block_)) {
      for (const LinearRef& linear : tap.linears) {
        if (std::find(site_.readers.begin(), site_.readers.end(), linear.role) !=
            site_.readers.end()) {
          out.push_back(linear);
        }
      }
    }
    return out;
  }

  static void copy(View2<const float> from, View2<float> to) {
    for (int64_t i = 0; i < from.rows; ++i) std::copy_n(from.row(i), from.cols, to.row(i));
  }

  static void multiply_columns(const std::vector<float>& scales, View2<float> w) {
    for (int64_t i = 0; i < w.rows; ++i) {
      for (int64_t j = 0; j < w.cols; ++j) w(i, j) *= scales[static_cast<std::size_t>(j)];
    }
  }

  DType type_of(const std::string& role) const {
    if (!model_.is_gguf()) return run_.plan.recipe.dense_type;
    const SourceTensor& tensor = *model_.find(*model_.role_tensor(role, block_));
    return plain_type(tensor.type, Naming::kGguf).value_or(run_.plan.recipe.dense_type);
  }

  // Rounds a tensor as the output will hold it, less `offset`, and hands it on.
  void hand_on(const std::string& role, DType type, float offset) {
    const View2<float> values = weights_.linear(role);
    MatrixF stored(values.rows, values.cols);
    for (int64_t i = 0; i < values.rows; ++i) {
      for (int64_t j = 0; j < values.cols; ++j) stored(i, j) = values(i, j) - offset;
    }
    round_to_dtype(type, {stored.data(), static_cast<std::size_t>(stored.size())});
    for (int64_t i = 0; i < values.rows; ++i) {
      for (int64_t j = 0; j < values.cols; ++j) values(i, j) = stored(i, j) + offset;
    }
    if (source_) copy(values, source_->linear(role));
    if (run_.hooks.replace) {
      run_.hooks.replace(*model_.role_tensor(role, block_), std::move(stored));
    }
  }

  std::vector<float> divide_norm(const std::vector<float>& wanted) {
    const std::string norm(site_.norm);
    const View2<float> gains = weights_.linear(norm);
    std::vector<float> before(gains.data, gains.data + gains.cols);
    for (int64_t j = 0; j < gains.cols; ++j) gains(0, j) /= wanted[static_cast<std::size_t>(j)];
    hand_on(norm, type_of(norm), static_cast<float>(model_.config().norm_weight_offset));
    std::vector<float> scales;
    for (int64_t j = 0; j < gains.cols; ++j) {
      const float was = before[static_cast<std::size_t>(j)];
      // A channel of gain 0 is 0 whatever divides it.
      const bool divided = was != 0.0F && gains(0, j) != 0.0F;
      scales.push_back(divided ? was / gains(0, j) : 1.0F);
    }
    if (weights_.find(norm + "_bias") != nullptr) {
      const View2<float> bias = weights_.linear(norm + "_bias");
      for (int64_t j = 0; j < bias.cols; ++j) bias(0, j) /= scales[static_cast<std::size_t>(j)];
      hand_on(norm + "_bias", type_of(norm + "_bias"), 0.0F);
    }
    return scales;
  }

  Run& run_;
  const Model& model_;
  int block_;
  ScaleSite site_;
  OpenTap open_;
  MatrixF h_;
  BlockWeights& weights_;
  std::optional<BlockWeights>& source_;  // of the unquantised model, where it runs too
  std::vector<float> total_;
};

}  // namespace

Result<TapSums> run_scaled_stage(Run& run, const Model& model, StagePlace place,
                                 const std::vector<Tap>& taps, GramSource& grams,
                                 BlockWeights& weights, std::optional<BlockWeights>& source) {
  const auto& [block, stage] = place;
  const auto at = static_cast<std::size_t>(stage);
  const BlockWeights* unquantised = source ? &*source : nullptr;
  const bool runs = block >= run.first_block;
  const bool is_known = at < taps.size() && is_solved(run, taps[at]);
  const auto steps = scaling_steps(run.plan);
  std::optional<ScaleSite> site;
  if (!steps.empty() && at < taps.size()) site = site_of(model, taps[at], weights);
  if (!site) {
    if (!runs) return TapSums();
    grams.measure(!is_known);
    return grams.run_stage(weights, unquantised, block, stage, taps);
  }
  // What an earlier process found; steps follow each other, so that all of it counts or none.
  std::vector<std::vector<float>> found;
  for (std::size_t k = 0; k < steps.size(); ++k) {
    const auto known = run.known.scales.find({block, stage, static_cast<int>(k)});
    if (known != run.known.scales.end()) found.push_back(known->second);
  }
  const bool is_found = found.size() == steps.size();
  OpenTap open;
  if (runs) {
    grams.measure(!is_found);
    COLDPRESS_ASSIGN_OR_RETURN(open, grams.open_tap(weights, unquantised, block, stage, taps));
  }
  Scaling scaling(run, model, block, std::move(*site), taps[at].width, std::move(open), weights,
                  source);
  {
    const Stopwatch watch(&run.report.seconds.solve);
    const int home = grams.home();
    for (std::size_t k = 0; k < steps.size(); ++k) {
      const auto& [kind, step] = steps[k];
      std::vector<float> scales;
      if (is_found) {
        scales = found[k];
      } else {
        if (home == kEveryRank || home == run.comm.rank()) {
          scales = kind->scales(scaling.problem(), *step, run.pool);
        }
        if (home != kEveryRank) COLDPRESS_RETURN_IF_ERROR(share_scales(home, run.comm, &scales));
        if (run.journal != nullptr) {
          COLDPRESS_RETURN_IF_ERROR(
              run.journal->add_scales({block, stage, static_cast<int>(k)}, scales));
        }
      }
      if (!scales.empty()) scaling.apply(scales);
    }
  }
  if (!runs) return TapSums();
  grams.measure(!is_known);
  COLDPRESS_ASSIGN_OR_RETURN(TapSums sums,
                             grams.close_tap(weights, block, stage, taps, scaling.total()));
  sums.scales.assign(scaling.total().begin(), scaling.total().end());
  return sums;
}

}  // namespace coldpress
