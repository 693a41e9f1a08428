// What a run has found out so far, on disk: each solved linear and each tap's scales, in the order
// of the run, below the fingerprint of what the run is made of. The file is docs/resume.md's
// `journal`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/status.h"
#include "grid/grid.h"
#include "io/journal.h"
#include "pipeline/fingerprint.h"
#include "pipeline/solved_linear.h"

namespace coldpress {

// A step of the recipe at a tap.
struct ScaledPlace {
  int block;
  int stage;
  int step;
  auto operator<=>(const ScaledPlace&) const = default;
};

// What need not be found out again.
struct KnownWork {
  std::set<std::pair<std::string, int>> linears;  // tensor and expert, as in RunJournal::has()
  std::map<ScaledPlace, std::vector<float>> scales;
};

class RunJournal {
 public:
  // Reads what is there; creates the file where there is none.
  static Result<RunJournal> open(const std::filesystem::path& path);
  // Before anything is added: writes down what the run is made of. If the journal has begun
  // already, it must be of the same: else the first field that differs is named.
  Status begin(const Fingerprint& fingerprint);

  int64_t solved() const { return static_cast<int64_t>(linears_.size()); }

  KnownWork known() const;  // by now

  // `expert`: -1 for a linear that is a tensor by itself.
  bool has(const std::string& tensor, int expert) const {
    return linears_.contains({tensor, expert});
  }
  // Of one that it has. `rows` x `cols`: what it must be.
  Result<SolvedLinear> read(const std::string& tensor, int expert, const GridKind& kind,
                            int64_t rows, int64_t cols) const;
  Status add(const std::string& tensor, int expert, const SolvedLinear& linear);

  // Empty where the step changed nothing; none where it is not known.
  std::optional<std::vector<float>> scales(const ScaledPlace& place) const;
  Status add_scales(const ScaledPlace& place, const std::vector<float>& scales);

  // What the manifest beside the output says, once all but the final names is done.
  const std::string& manifest() const { return manifest_; }  // empty: it has not come to that
  Status add_manifest(const std::string& manifest);

  // Makes all that was added durable.
  Status flush();

 private:
  explicit RunJournal(Journal journal);
  std::string how_to_drop() const;

  Journal journal_;
  std::optional<std::string> fingerprint_;
  std::map<std::pair<std::string, int>, Journal::Record> linears_;
  std::map<ScaledPlace, std::vector<float>> scales_;
  std::string manifest_;
  bool has_unflushed_ = false;
};

}  // namespace coldpress
