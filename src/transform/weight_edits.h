// What happens to a model's tensors between the source and whoever loads them, by role and block.
// Edits of one tensor are made in the order in which they were added. Nothing is loaded here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "linalg/rotation.h"
#include "model/model.h"
#include "parallel/thread_pool.h"
#include "transform/samples.h"

namespace coldpress {

class WeightEdits {
 public:
  // Changes values in place: a matrix (out, in), of experts (experts * out, in) or each expert's by
  // itself, a vector as one row. Norm gains are the effective ones. Pure; an error is the source's.
  using Edit = std::function<Status(View2<float> values)>;

  explicit WeightEdits(const Model& model) : model_(model) {}

  // Nothing if the block has no such tensor. `block` is ignored for roles of the whole model.
  void add(std::string_view role, int block, const Edit& edit);
  // The tap's channels are rotated: so are the columns of the matrices that read it, and the tap is
  // known to be. kHeadTap, with block 0: the head, if it is no table of embeddings.
  void rotate_readers(std::string_view tap, int block, RotationBlocks rotations);
  // Edits the matrices that read the tap and, as one row, their biases.
  void add_to_writers(std::string_view tap, int block, const Edit& matrix, const Edit& bias);
  using TapRotations = std::map<std::pair<std::string, int>, RotationBlocks>;
  const TapRotations& tap_rotations() const { return tap_rotations_; }

  // True once for each norm and block: whether its gains are still to be folded.
  bool fold_first(std::string_view norm, int block) {
    return folded_.emplace(std::string(norm), block).second;
  }
  // The head becomes a tensor of its own, if it is the embeddings so far; it starts as they are in
  // the source.
  void untie();

  // Settles what the edits do once there are samples of what they act on. Until then they do
  // something as valid.
  using Learn = std::function<void(const Samples& samples, ThreadPool& pool)>;
  void learn_later(Learn learn) { learners_.push_back(std::move(learn)); }
  const std::vector<Learn>& learners() const { return learners_; }

  OnlineParts& online() { return online_; }
  const OnlineParts& online() const { return online_; }

  bool is_untied() const { return untied_; }
  // By the source's tensor name.
  const std::map<std::string, std::vector<Edit>>& edits() const { return edits_; }
  // Name of the head that untie() makes.
  std::string head_name() const;

 private:
  std::vector<std::string> names_of(const RoleSpec& role, int block) const;

  const Model& model_;
  std::map<std::string, std::vector<Edit>> edits_;
  std::vector<Learn> learners_;
  TapRotations tap_rotations_;
  std::set<std::pair<std::string, int>> folded_;
  OnlineParts online_;
  bool untied_ = false;
};

}  // namespace coldpress
