// OUT.work, beside the output: what a run has done so far, so that the same command goes on where
// it ended. docs/resume.md says what is in it and what is promised.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "calibration/gram_source.h"
#include "io/file_lock.h"
#include "pipeline/fingerprint.h"
#include "pipeline/run_journal.h"

namespace coldpress {

struct WorkFolderOptions {
  bool restart = false;  // throw away what is there
  // Activations are saved once so many times what that takes has passed since they were last.
  double save_spacing = 20;
};

class WorkFolder {
 public:
  // Of an output. Takes what is there for this process, or nothing if there is nothing; refused
  // while another process has it.
  static Result<std::unique_ptr<WorkFolder>> claim(const std::filesystem::path& out,
                                                   const WorkFolderOptions& options);
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  // Removes a folder in which there is nothing to go on with.
  ~WorkFolder();

  const std::filesystem::path& path() const { return path_; }
  uint64_t bytes() const;  // on disk

  // The manifest of an output that an earlier process brought to the point where only names were
  // missing; empty: it did not.
  std::string manifest() const { return journal_ ? journal_->manifest() : std::string(); }

  // Creates the folder, or checks that what is there is of the run with this fingerprint.
  Status begin(const Fingerprint& fingerprint);
  // After begin().
  RunJournal& journal() { return *journal_; }
  // Whether the folder holds what would have to be found out again.
  bool has_work() const { return journal_ && journal_->solved() > 0; }

  // Saves what `grams` carries from `block` to the next, if it is time to; what the journal has is
  // made durable first.
  Status save(GramSource& grams, int block);
  // The blocks that need not run, since `grams` has what it would have after them; 0: none.
  // `known_blocks`: of how many blocks, from the first, the journal has every linear.
  Result<int> restore(GramSource& grams, int known_blocks);

  // The output is complete: removes the folder. Whether it is gone.
  bool remove();

 private:
  explicit WorkFolder(std::filesystem::path path, const WorkFolderOptions& options);
  Status take_lock();
  std::filesystem::path activations(int block) const;

  std::filesystem::path path_;
  double spacing_;
  std::optional<FileLock> lock_;
  std::optional<RunJournal> journal_;
  std::optional<int> saved_;  // the block of the file of activations that is there
  double last_save_;          // seconds_now()
  double save_seconds_ = 0;   // of the last one
};

}  // namespace coldpress
